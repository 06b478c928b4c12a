package reactor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// Run services the registrations until ctx ends, and then returns ctx.Err();
// the loop stays as it is, and can be run again. The error matches ErrClosed
// after Close, ErrRunning if another Run or Poll is active.
func (l *Loop) Run(ctx context.Context) error {
	if err := l.enter(false); err != nil {
		return fmt.Errorf("reactor: run: %w", err)
	}
	defer l.leave()
	defer l.stopWith(ctx)()

	var timeout time.Duration
	for {
		worked, err := l.step(timeout)
		switch {
		case errors.Is(err, errStopped):
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("reactor: run: %w", err)
		case worked:
			timeout = 0
		case timeout == 0:
			timeout = -1
		}
	}
}

// stopWith makes step return errStopped when ctx ends. Call release after the
// last step.
func (l *Loop) stopWith(ctx context.Context) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.stopped = true
		_ = l.ring() // a nonblocking eventfd of our own takes every write
	})
	return func() {
		if !stop() {
			<-done // its edge must not come after Run
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.stopped = false
	}
}

// Poll waits for something to do, does it, and returns the number of callbacks
// run: Ready, Closed and posts. It waits for ever if timeout is negative, not at
// all if it is 0 or turns are due, else for timeout rounded up to milliseconds.
// It returns early, with 0, after an event that no callback was to be told.
//
// Poll may be called from different goroutines, but not at the same time, and
// not inside a callback; the error then matches ErrRunning. It matches ErrClosed
// after Close.
func (l *Loop) Poll(timeout time.Duration) (int, error) {
	if err := l.enter(true); err != nil {
		return 0, fmt.Errorf("reactor: poll: %w", err)
	}
	defer l.leave()
	_, err := l.step(timeout)
	if err == nil && l.closed.Load() {
		err = ErrClosed
	}
	if err != nil {
		return l.ran, fmt.Errorf("reactor: poll: %w", err)
	}
	return l.ran, nil
}

// enter puts the calling goroutine in charge of the loop.
func (l *Loop) enter(byPoll bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed.Load():
		return ErrClosed
	case l.driven:
		return ErrRunning
	}
	l.driven = true
	l.takeCharge(byPoll)
	return nil
}

func (l *Loop) takeCharge(byPoll bool) {
	l.byPoll = byPoll
	if !byPoll {
		l.owner.goroutine.Store(goroutineID())
	}
	l.ran = 0
	// A page that a peer took away must end a registration, not the process.
	l.faults = debug.SetPanicOnFault(true)
}

// leave is the end of Run and Poll, by return or by runtime.Goexit in a
// callback, and the whole of Close when neither is active.
func (l *Loop) leave() {
	defer debug.SetPanicOnFault(l.faults)
	if !l.letGo() {
		l.tearDown()
	}
}

// letGo hands the loop over to the next Run or Poll. It is false if the loop
// was closed.
func (l *Loop) letGo() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return false
	}
	if l.host == nil {
		l.sleepNow()
	}
	l.owner.goroutine.Store(0)
	l.driven = false
	return true
}

// sleepNow is for a loop that may not be driven again soon: FD has to tell of all that
// is left to do. Needs l.mu.
func (l *Loop) sleepNow() {
	for _, r := range l.hot { // nobody polls them from here on
		l.queueHot(r)
	}
	clear(l.hot)
	l.hot = l.hot[:0]
	l.awake = false
	if l.backlog() {
		_ = l.ring() // a nonblocking eventfd of our own takes every write
	}
}
