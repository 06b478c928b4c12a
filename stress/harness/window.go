package harness

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Phases of a window.
const (
	waiting uint32 = iota // for Start
	warming               // from the first message on
	measuring
	over
	phases
)

// A warm-up takes a quarter of the measured time, within these bounds.
const (
	minWarmUp = 20 * time.Millisecond
	maxWarmUp = 500 * time.Millisecond
)

// How long a window waits for the first message, and then for the next one when a
// phase begins. An arm without a message in the first time passes for silent, and
// is not waited for again.
const (
	firstGrace = 2 * time.Second
	nextGrace  = 5 * time.Second
)

// A Window is the measured part of a block. It opens after a warm-up, which begins
// with the first message, and closes when p.Duration has gone by, both with the
// message that comes next: so the window has at least one, however long they take.
// It takes note of time, CPU and allocations, then and then. What was counted with
// Add in between is what it measured.
//
// A consumer of one goroutine uses Add and Record of the window itself. One of
// many goroutines makes a Counter for each, and the arm's own goroutine waits
// for Done. Both end with Result.
type Window struct {
	phase  atomic.Uint32
	params Params
	peers  []*PeerProcess
	totals []total
	done   chan struct{}
	early  bool // ctx ended it; valid when done is closed
	silent bool // no message came at first; of the goroutine of Start
	marks  [phases]mark
	own    Counter

	_        [64]byte // what follows is written while others read the phase
	mu       sync.Mutex
	counters []*Counter
	latency  *hdrhistogram.Histogram
}

// A total is a running total of the arm's own.
type total struct {
	metric Metric
	read   func() uint64
}

// NewWindow returns a window, not started. The CPU time of peers, which may be
// none, is the producers'.
func NewWindow(p Params, peers ...*PeerProcess) *Window {
	w := &Window{params: p, peers: peers, done: make(chan struct{}), latency: NewHistogram()}
	for i := range w.marks {
		w.marks[i].reached = make(chan struct{})
	}
	w.own.window = w
	w.counters = []*Counter{&w.own}
	return w
}

// Count adds a metric of the arm's own: how much read, a running total, grows
// in the window, per message (per second for Wakeups). Several of one metric
// add up. Call it before Start. read is called twice, by a goroutine that calls
// Add or, if none does for a while, by another.
func (w *Window) Count(m Metric, read func() uint64) {
	w.totals = append(w.totals, total{m, read})
}

// Start begins the warm-up with the next message; call it once, when all is
// attached. An end of ctx ends the window early.
func (w *Window) Start(ctx context.Context) {
	go func() {
		defer close(w.done)
		warmUp := min(max(w.params.Duration/4, minWarmUp), maxWarmUp)
		w.early = !w.enter(ctx, warming) || !pause(ctx, warmUp) ||
			!w.enter(ctx, measuring) || !pause(ctx, w.params.Duration) || !w.enter(ctx, over)
		w.phase.Store(over)
	}()
}

// Add counts messages that came since the last call, and their bytes. It costs
// a few nanoseconds: call it once a batch. False means that the window is over.
// Only one goroutine may use it; more need a Counter each.
func (w *Window) Add(messages, bytes int) bool { return w.own.Add(messages, bytes) }

// Record takes a latency, if the window measures. The goroutine is that of Add.
func (w *Window) Record(d time.Duration) { w.own.Record(d) }

// NewCounter returns a counter for one more goroutine that receives. It may be
// called from any goroutine.
func (w *Window) NewCounter() *Counter {
	c := &Counter{window: w}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counters = append(w.counters, c)
	return c
}

// Done is closed when the window is over.
func (w *Window) Done() <-chan struct{} { return w.done }

// Result returns what the window measured, with the sums of the checks. Call it
// when no goroutine counts any longer. It fails if ctx ended the window early,
// or if checks are given and no message came.
func (w *Window) Result(checks ...*Check) (Result, error) {
	<-w.done
	var r Result
	for _, c := range checks {
		r.Lost += c.Lost
		r.Duplicated += c.Duplicated
		r.Reordered += c.Reordered
	}
	if w.early {
		return r, errors.New("harness: the window ended early")
	}
	from, to := &w.marks[measuring], &w.marks[over]
	var sum count
	for _, c := range w.counters {
		c.turn(over)
		sum.messages += c.marks[over].messages - c.marks[measuring].messages
		sum.bytes += c.marks[over].bytes - c.marks[measuring].bytes
	}
	if sum.messages == 0 && len(checks) > 0 {
		return r, errors.New("harness: no message came in the window")
	}
	r.Metrics = w.metrics(from, to, sum)
	if w.latency.TotalCount() > 0 {
		r.Latency = w.latency
	}
	return r, nil
}

func (w *Window) metrics(from, to *mark, sum count) map[Metric]float64 {
	m := map[Metric]float64{}
	seconds := to.at.Sub(from.at).Seconds()
	if sum.bytes > 0 {
		m[BytesPerSecond] = float64(sum.bytes) / seconds
	}
	if n := float64(sum.messages); n > 0 {
		m[MessagesPerSecond] = n / seconds
		m[NsPerMessage] = seconds * 1e9 / n
		m[ConsumerCPU] = float64(to.consumer-from.consumer) / n
		m[Switches] = float64(to.switches-from.switches) / n
		m[Allocs] = float64(to.allocs-from.allocs) / n
		if len(w.peers) > 0 {
			m[ProducerCPU] = float64(to.producers-from.producers) / n
		}
	}
	for i, t := range w.totals {
		switch grown := float64(to.totals[i] - from.totals[i]); {
		case t.metric == Wakeups:
			m[t.metric] += grown / seconds
		case sum.messages > 0:
			m[t.metric] += grown / float64(sum.messages)
		}
	}
	return m
}

// enter begins a phase and returns when it is marked, false if ctx ended.
func (w *Window) enter(ctx context.Context, phase uint32) bool {
	w.phase.Store(phase)
	grace := nextGrace
	switch {
	case w.silent:
		grace = 0
	case phase == warming:
		grace = firstGrace
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-w.marks[phase].reached:
	case <-t.C:
		w.silent = true
		w.reach(phase)
	case <-ctx.Done():
		return false
	}
	return true
}

// reach marks the phase. The first goroutine that notices it does that, so that
// with one goroutine the count, the time and the CPU are of the same moment.
func (w *Window) reach(phase uint32) {
	m := &w.marks[phase]
	m.once.Do(func() {
		// Reading the heap takes long and stops the world: keep it outside.
		if phase == measuring {
			m.allocs = heapObjects()
			m.read(w)
		} else {
			m.read(w)
			m.allocs = heapObjects()
		}
		close(m.reached)
	})
}

// A mark is what the processes had used up when a phase began.
type mark struct {
	once    sync.Once
	reached chan struct{}

	at                  time.Time
	consumer, producers time.Duration // CPU
	switches, allocs    uint64
	totals              []uint64
}

func (m *mark) read(w *Window) {
	m.at = time.Now()
	m.consumer = SelfCPU()
	for _, p := range w.peers {
		m.producers += p.CPU()
	}
	m.switches = SelfSwitches()
	for _, t := range w.totals {
		m.totals = append(m.totals, t.read())
	}
}

// heapObjects returns the objects allocated so far. Package runtime/metrics is
// cheaper, but leaves out what is counted on each P.
func heapObjects() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.Mallocs
}

// pause waits, and is false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
