package reactor

import "time"

// Option changes how a loop is made.
type Option func(*Loop)

// WithSpin sets how long a ring that ran dry is polled before the loop lets it
// sleep; 0 or less turns polling off. The default is what a wake-up costs on this
// machine, measured once in a process, and no polling on one CPU. It has no effect
// on a loop that a host drives by Poll.
func WithSpin(d time.Duration) Option {
	return func(l *Loop) { l.spin = max(d, 0) }
}
