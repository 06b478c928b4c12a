package reactor

import (
	"log/slog"
	"time"
)

// Option changes how a loop is made.
type Option func(*Loop)

// WithSpin sets how long a ring that ran dry is polled before the loop lets it
// sleep; 0 or less turns polling off. The default is what a wake-up costs on this
// machine, measured once in a process, and no polling on one CPU. It has no effect
// on a loop that a host drives by Poll.
func WithSpin(d time.Duration) Option {
	return func(l *Loop) { l.spin = max(d, 0) }
}

// WithLogger has the loop report panics of callbacks as errors, and registrations
// that it ends for another cause as warnings. The default is to say nothing.
func WithLogger(log *slog.Logger) Option {
	return func(l *Loop) { l.log = log }
}

// WithNap sets how long a loop lets its rings gather work when it would otherwise be
// rung for more than some ten thousand times a second; 0 or less turns that off, and 1 ms
// is the most. A nap makes such a load several times cheaper, for peers too, and adds
// about its length to the latency, for descriptors and posts as well. The default is
// 50 us, to which the kernel adds as much (timerslack_ns in proc(5)). It has no effect
// on a loop that a host drives by Poll; a [Guest] naps at the end of a Turn.
func WithNap(d time.Duration) Option {
	return func(l *Loop) { l.nap = min(max(d, 0), maxNap) }
}
