package sharedring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// spinner polls a ring for about the time that a sleep and its wake-up cost, less
// where that has not paid off lately.
type spinner struct{ budget time.Duration }

const (
	minSpin = time.Microsecond
	maxSpin = 20 * time.Microsecond
)

// init turns spinning off on one processor, where it keeps the peer from running.
func (s *spinner) init() {
	if min(runtime.GOMAXPROCS(0), runtime.NumCPU()) > 1 {
		s.budget = maxSpin
	}
}

// spin reports whether pending became true (or failed) within the budget.
func (s *spinner) spin(pending func() (bool, error)) bool {
	if s.budget == 0 {
		return false
	}
	for start := time.Now(); time.Since(start) < s.budget; {
		for range 64 { // a look costs about a nanosecond, the clock some tens
			if ok, err := pending(); ok || err != nil {
				s.budget = min(2*s.budget, maxSpin)
				return true
			}
		}
	}
	s.budget = max(s.budget/2, minSpin)
	return false
}

// sleeper parks the calling goroutine in Go's netpoller until a doorbell's next
// edge. The doorbell's counter is never read: every write is an edge of its own
// (the netpoller is edge-triggered), and a read could block if the peer cleared
// O_NONBLOCK. No thread and no goroutine is held meanwhile.
type sleeper struct {
	mu     sync.Mutex
	closed bool
	file   *os.File // a duplicate of the doorbell; nil until the first sleep
	conn   syscall.RawConn

	done <-chan struct{} // of the context that stop belongs to; the last one that slept
	stop func() bool
	poll func(uintptr) bool // made once, so that sleeping does not allocate
	err  error
}

// open readies the netpoller for the doorbell of e. arm is asked before every
// sleep.
func (s *sleeper) open(e *end, arm func() (bool, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.file != nil {
		return nil
	}
	// The flag decides whether os.NewFile uses the netpoller; a peer may have
	// cleared it.
	if err := setNonblock(e.waits.fd); err != nil {
		return err
	}
	dup, err := dupDescriptor(e.waits.fd)
	if err != nil {
		return err
	}
	s.file = os.NewFile(uintptr(dup), "doorbell")
	s.poll = func(uintptr) bool {
		if e.over() {
			return true
		}
		pending, err := arm()
		if e.over() {
			return true // by what arm found; the call that waits says so in its own words
		}
		s.err = err
		return pending || err != nil
	}
	s.conn, err = s.file.SyscallConn()
	return err
}

// sleep returns when arm finds something to do, when the ring ends, or with an
// error.
func (s *sleeper) sleep(ctx context.Context) error {
	s.watch(ctx)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.err = nil
		err := s.conn.Read(s.poll)
		switch {
		case err == nil:
			return s.err
		case errors.Is(err, os.ErrClosed):
			return ErrClosed
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("wait for the doorbell: %w", err)
		}
		// This context woke us, or an earlier one. The deadline is taken back before
		// the context is looked at again, so its end is not lost.
		if err := s.file.SetReadDeadline(time.Time{}); errors.Is(err, os.ErrClosed) {
			return ErrClosed
		} else if err != nil {
			return fmt.Errorf("wait for the doorbell: %w", err)
		}
	}
}

// watch has ctx's end wake the sleeper. The registration is kept for the next
// sleep with the same context.
func (s *sleeper) watch(ctx context.Context) {
	if ctx.Done() == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || ctx.Done() == s.done {
		return
	}
	if s.stop != nil {
		s.stop()
	}
	s.done, s.stop = ctx.Done(), context.AfterFunc(ctx, s.wake)
}

// wake interrupts the current sleep, or the next if there is none. A wake that
// comes late is spurious and does no harm.
func (s *sleeper) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil && !s.closed {
		_ = s.file.SetReadDeadline(time.Unix(1, 0)) // fails only when closed
	}
}

func (s *sleeper) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.stop != nil {
		s.stop()
	}
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// await blocks until pending or arm finds something to do, the ring ends, or ctx
// does: first by spinning, then asleep.
func (e *end) await(ctx context.Context, op string, pending, arm func() (bool, error)) error {
	if err := ctx.Err(); err != nil {
		return e.wrap(op, err)
	}
	if e.spinner.spin(pending) {
		return nil
	}
	err := e.sleeper.open(e, arm)
	if err == nil {
		err = e.sleeper.sleep(ctx)
	}
	return e.wrap(op, err)
}

func (e *end) over() bool { return e.status.Load() != 0 }
