package reactor

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
)

// A Reactor is several loops, each on a goroutine of its own, for a server that
// one loop is not enough for. A registration stays on the loop it was given to.
type Reactor struct {
	loops []*Loop
}

// New makes a reactor of that many loops; 0 or less stands for GOMAXPROCS. The
// options are those of each loop. Like a Loop it does nothing before Run, and has
// to be closed.
func New(loops int, opts ...Option) (*Reactor, error) {
	if loops <= 0 {
		loops = runtime.GOMAXPROCS(0)
	}
	r := &Reactor{}
	for range loops {
		l, err := NewLoop(opts...)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.loops = append(r.loops, l)
	}
	return r, nil
}

// Loops returns the loops, for a caller who places registrations himself. The
// slice is the caller's.
func (r *Reactor) Loops() []*Loop { return append([]*Loop(nil), r.loops...) }

// Least returns the loop with the fewest registrations. Descriptors that belong
// together, such as a ring and the lifeline of its peer, go on the same loop:
// then their callbacks need no lock between them.
func (r *Reactor) Least() *Loop {
	least, n := r.loops[0], r.loops[0].Registered()
	for _, l := range r.loops[1:] {
		if m := l.Registered(); m < n {
			least, n = l, m
		}
	}
	return least
}

// Attach gives s to the loop with the fewest registrations; see Loop.Attach.
func (r *Reactor) Attach(s Source, h Handler) (*Registration, error) {
	return r.Least().Attach(s, h)
}

// Register gives fd to the loop with the fewest registrations; see Loop.Register.
func (r *Reactor) Register(fd int, i Interest, h Handler) (*Registration, error) {
	return r.Least().Register(fd, i, h)
}

// Run runs all loops, each on a goroutine of its own with the profiler label
// shmloop-loop set to its number, until ctx ends, and returns
// ctx.Err(); or until Close, with an error that matches ErrClosed. If one loop
// fails the others are stopped and its error is returned.
func (r *Reactor) Run(ctx context.Context) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, len(r.loops))
	var all sync.WaitGroup
	for i, l := range r.loops {
		all.Go(func() {
			defer stop()
			labels := pprof.Labels("shmloop-loop", strconv.Itoa(i))
			pprof.Do(running, labels, func(ctx context.Context) { errs[i] = l.Run(ctx) })
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return fmt.Errorf("reactor: run: %w", ErrClosed)
}

// Close closes all loops; see Loop.Close.
func (r *Reactor) Close() error {
	errs := make([]error, len(r.loops))
	for i, l := range r.loops {
		errs[i] = l.Close()
	}
	return errors.Join(errs...)
}

// Stats returns the counters of all loops, added up.
func (r *Reactor) Stats() Stats {
	var sum Stats
	for _, l := range r.loops {
		sum.add(l.Stats())
	}
	return sum
}
