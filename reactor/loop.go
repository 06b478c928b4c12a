package reactor

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A Loop services registrations on one goroutine: the one in Run, or the
// host's, in Poll. Make one with NewLoop. It owns an epoll descriptor, an eventfd
// and, from the first timer on, a timerfd, until Close.
type Loop struct {
	host   Host // of a Guest; nil: the loop waits itself, with the next two
	epfd   int
	wakefd int // eventfd, edge-triggered and never read
	owner  owner
	stats  counters
	log    *slog.Logger

	mu      sync.Mutex
	settled sync.Cond // on mu: a closed registration left its callback, or torn
	table   table
	timers  timers
	posts   []func()        // not yet seen by the loop
	inbox   []*Registration // the same, queued
	awake   bool            // the loop will look at posts and inbox without an edge
	rung    bool            // the wake eventfd has an edge that the loop has not seen
	driven  bool            // Run, Poll or Close is in charge of the fields below
	stopped bool            // the context of Run ended
	torn    bool            // Close is complete: no more callbacks, descriptors closed
	tornErr error           // what closing them gave

	closed  atomic.Bool   // set under mu
	sweeps  atomic.Uint64 // begins and ends of sweeps; odd: hot rings are being asked
	closers atomic.Int32  // goroutines that wait for the end of a sweep

	spin  time.Duration // how long to poll a ring that ran dry
	nap   time.Duration // how long to let rings gather work under load
	start time.Time     // 0 on the loop's clock

	// Of the goroutine in charge.
	now        time.Duration // read once a step
	looked     time.Duration // the last look at the descriptors
	swept      time.Duration // the last look at the hot rings
	yielded    time.Duration // the last time that other goroutines had the processor
	hot        []*Registration
	moderation moderation
	events     []pollEvent
	queue      queue[*Registration] // rings that wait for their turn
	urgent     queue[*Registration] // descriptors, the same
	batch      queue[func()]
	ran        int  // callbacks run in this Poll
	byPoll     bool // owner is named by thread
	faults     bool // previous debug.SetPanicOnFault
}

// NewLoop makes a loop. It does nothing before Run or Poll. On other systems
// than Linux the error matches errors.ErrUnsupported.
func NewLoop(opts ...Option) (*Loop, error) {
	l := new(Loop)
	l.init(opts)
	l.events = make([]pollEvent, 64)
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("reactor: new loop: %w", err)
	}
	return l, nil
}

func (l *Loop) init(opts []Option) {
	l.table, l.start = newTable(), time.Now()
	l.log, l.spin, l.nap = slog.New(slog.DiscardHandler), defaultSpin(), defaultNap
	l.settled.L = &l.mu
	l.timers.fd = -1
	for _, o := range opts {
		o(l)
	}
}

func (l *Loop) open() (err error) {
	if l.epfd, err = epollCreate(); err != nil {
		return err
	}
	if l.wakefd, err = eventfdCreate(); err != nil {
		return errors.Join(err, closeFD(l.epfd))
	}
	if err = epollAdd(l.epfd, l.wakefd, doorbellMask, wakeToken); err != nil {
		return errors.Join(err, closeFD(l.wakefd), closeFD(l.epfd))
	}
	return nil
}

// FD returns the epoll descriptor, for a host that waits on it and then calls
// Poll(0). It is readable exactly when Poll(0) has something to do: events,
// posts, or registrations that wait for their next turn. A host that waits
// edge-triggered calls Poll(0) until that returns 0, before it waits again.
//
// The loop keeps the descriptor. It closes it in Close; then FD returns -1.
func (l *Loop) FD() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epfd
}
