package reactor

import (
	"container/heap"
	"fmt"
	"time"
)

// A Timer runs a function on a loop at a later time. It is made by Loop.AfterFunc.
type Timer struct {
	loop *Loop
	f    func()

	// Under loop.mu.
	when  time.Duration // on the loop's clock
	index int           // in loop.timers.heap; -1: not waiting
}

// timers are those of one loop. Under its mu.
type timers struct {
	fd    int // timerfd, edge-triggered and never read; -1 until the first timer
	heap  timerHeap
	armed time.Duration // what fd is set to; 0: nothing
}

// AfterFunc runs f on the loop's goroutine once d has passed: in Run, or in the
// Poll after that; FD is readable then. A panic in f is caught and counted in
// Stats. AfterFunc may be called from any goroutine. The error matches ErrClosed
// after Close, which drops timers that wait, and ErrInvalid for a nil f.
func (l *Loop) AfterFunc(d time.Duration, f func()) (*Timer, error) {
	if f == nil {
		return nil, fmt.Errorf("reactor: timer: nil function: %w", ErrInvalid)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &Timer{loop: l, f: f, index: -1}
	if err := l.schedule(t, d); err != nil {
		return nil, fmt.Errorf("reactor: timer: %w", err)
	}
	return t, nil
}

// Stop keeps the function from running. It is false if it has run, is about to, or
// was stopped before. It may be called from any goroutine; on the loop, false means
// that the function has begun.
func (t *Timer) Stop() bool {
	t.loop.mu.Lock()
	defer t.loop.mu.Unlock()
	return t.remove()
}

// Reset makes the function run once d has passed from now, whether it has run
// before or not. It may be called from any goroutine, also by the function itself.
// The error matches ErrClosed.
func (t *Timer) Reset(d time.Duration) error {
	t.loop.mu.Lock()
	defer t.loop.mu.Unlock()
	t.remove()
	if err := t.loop.schedule(t, d); err != nil {
		return fmt.Errorf("reactor: timer: %w", err)
	}
	return nil
}

// remove needs loop.mu. The timerfd stays set: its edge finds nothing due.
func (t *Timer) remove() bool {
	if t.index < 0 {
		return false
	}
	heap.Remove(&t.loop.timers.heap, t.index)
	return true
}

// schedule needs l.mu.
func (l *Loop) schedule(t *Timer, d time.Duration) error {
	if l.closed.Load() {
		return ErrClosed
	}
	if err := l.openTimers(); err != nil {
		return err
	}
	t.when = time.Since(l.start) + max(d, 0)
	heap.Push(&l.timers.heap, t)
	if err := l.setTimer(); err != nil {
		t.remove()
		return err
	}
	return nil
}

// openTimers needs l.mu.
func (l *Loop) openTimers() error {
	if l.timers.fd >= 0 {
		return nil
	}
	fd, err := timerCreate()
	if err != nil {
		return err
	}
	if err := epollAdd(l.epfd, fd, doorbellMask, timerToken); err != nil {
		_ = closeFD(fd)
		return err
	}
	l.timers.fd = fd
	return nil
}

// setTimer sets the timerfd to the first timer, if it is not set to that or
// something earlier. Needs l.mu.
func (l *Loop) setTimer() error {
	if len(l.timers.heap) == 0 {
		return nil
	}
	first := l.timers.heap[0].when
	if l.timers.armed != 0 && l.timers.armed <= first {
		return nil
	}
	if err := timerSet(l.timers.fd, max(first-time.Since(l.start), 1)); err != nil {
		return err
	}
	l.timers.armed = first
	return nil
}

// expire puts the functions that are due on the queue of posts. It is called when
// the timerfd has fired. Needs l.mu.
func (l *Loop) expire() {
	l.timers.armed = 0
	now := time.Since(l.start)
	for len(l.timers.heap) > 0 && l.timers.heap[0].when <= now {
		t := l.timers.heap[0]
		t.remove()
		l.batch.push(t.f)
	}
	// It cannot fail: the descriptor is ours, and the time is not negative.
	_ = l.setTimer()
}

// dropTimers is for Close. Needs l.mu.
func (l *Loop) dropTimers() error {
	for len(l.timers.heap) > 0 {
		l.timers.heap[0].remove()
	}
	if l.timers.fd < 0 {
		return nil
	}
	err := closeFD(l.timers.fd)
	l.timers.fd = -1
	return err
}

// timerHeap orders timers by time; see container/heap.
type timerHeap []*Timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].when < h[j].when }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*Timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.index = -1
	return t
}
