package reactor

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A Registration is a ring end or a descriptor that a loop looks after. Its
// methods may be called from any goroutine, also inside callbacks.
type Registration struct {
	loop     *Loop
	handler  Handler
	source   Source // nil: a plain descriptor
	fd       int    // borrowed
	interest Interest
	token    token
	state    state
	events   atomic.Uint32 // an Event: seen and not yet told to Ready

	edges    atomic.Uint64
	services atomic.Uint64

	// Of the loop's goroutine; see hot.go.
	dry     time.Duration // l.now when it became hot
	penalty uint8         // dry spells to sleep through after the next miss
	skip    uint8         // of these, what is left
	cooling bool          // its next turn only arms
	bells   bells         // of the source; nil if it does not count them
}

// Attach lets the loop service one end of a ring. Ready gets a first turn at
// once: data may be older than the registration, and then no edge comes for it.
//
// The doorbell is borrowed; see the package comment. One descriptor can be in a
// loop only once, else the error matches ErrRegistered.
func (l *Loop) Attach(s Source, h Handler) (*Registration, error) {
	if s == nil {
		return nil, fmt.Errorf("reactor: attach: nil source: %w", ErrInvalid)
	}
	if h.Ready == nil {
		return nil, fmt.Errorf("reactor: attach: nil Ready: %w", ErrInvalid)
	}
	r := &Registration{loop: l, handler: h, source: s, fd: s.FD()}
	r.bells, _ = s.(bells)
	if err := l.add(r); err != nil {
		return nil, fmt.Errorf("reactor: attach: %w", err)
	}
	return r, nil
}

// Register lets the loop wait on fd, which should be non-blocking: by the time
// of the callback the condition may have passed. Without EdgeTriggered, Ready is
// called in each round in which the condition holds, and an unwanted hang-up or
// error repeats until the registration is closed or paused.
//
// fd is borrowed; see the package comment. Errors match ErrInvalid for an
// interest in nothing or an unknown one, ErrRegistered for a descriptor that the
// loop has already, ErrNotPollable for a regular file, syscall.EBADF for no
// descriptor.
func (l *Loop) Register(fd int, i Interest, h Handler) (*Registration, error) {
	if h.Ready == nil {
		return nil, fmt.Errorf("reactor: register descriptor %d: nil Ready: %w", fd, ErrInvalid)
	}
	if err := i.check(); err != nil {
		return nil, fmt.Errorf("reactor: register descriptor %d: %w", fd, err)
	}
	r := &Registration{loop: l, handler: h, fd: fd, interest: i}
	if err := l.add(r); err != nil {
		return nil, fmt.Errorf("reactor: register: %w", err)
	}
	return r, nil
}

func (r *Registration) mask() uint32 {
	if r.source != nil {
		return doorbellMask
	}
	return r.interest.mask()
}

// add puts r into the table and the epoll set. The lock is held so that Close
// cannot close the epoll descriptor under the system call.
func (l *Loop) add(r *Registration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return ErrClosed
	}
	r.token = l.table.add(r)
	if err := l.watch(r); err != nil {
		l.table.remove(r.token)
		return err
	}
	if r.source == nil {
		return nil // the kernel reports what is there already
	}
	if err := l.enqueue(r); err != nil {
		r.state.close()
		return errors.Join(err, l.retire(r))
	}
	return nil
}

// enqueue asks for a turn from outside the loop. Needs l.mu.
func (l *Loop) enqueue(r *Registration) error {
	// Ring first: once woken, the registration has to be in the inbox.
	if err := l.ring(); err != nil {
		return err
	}
	if r.state.wake() {
		l.inbox = append(l.inbox, r)
	}
	return nil
}

// retire takes r out of the epoll set and out of the table, in this order: a
// token that is free again must not be in use. The one who closed r.state calls
// it, before the owner may close the descriptor. Needs l.mu.
func (l *Loop) retire(r *Registration) error {
	err := l.unwatch(r)
	l.table.remove(r.token)
	return err
}

// Close ends the registration without a call of Closed. When it returns no
// callback of this registration runs or will start, and the loop has let go of
// the descriptor. For that it waits for a callback that is running, except when
// called inside that callback, which then is the last. So it must not be called
// with a lock held that the callback wants, and a callback must not wait for
// another goroutine that calls it: so callbacks of two loops must not close each
// other's registrations, but Post that.
//
// Close is idempotent. An error means that the descriptor could not be taken out
// of the epoll set, most likely because it was closed too early; the registration
// is closed all the same.
func (r *Registration) Close() error {
	l := r.loop
	l.mu.Lock()
	var err error
	if r.state.close() {
		err = l.retire(r)
	}
	running := r.state.running()
	l.mu.Unlock()

	if r.source != nil && l.sweeps.Load()%2 == 1 && !l.owner.isCaller() {
		l.awaitSweep()
	}
	if running && !l.owner.isCaller() {
		l.mu.Lock()
		for r.state.running() {
			l.settled.Wait()
		}
		l.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("reactor: close registration: %w", err)
	}
	return nil
}

// Pause holds back Ready until Resume. A turn that has begun ends in its own
// time. What happens meanwhile is remembered. Closed can still come.
func (r *Registration) Pause() {
	l := r.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.state.pause() && r.source == nil {
		// Else a level-triggered descriptor would keep the loop awake. It fails
		// only for a descriptor closed too early, of which epoll reports nothing.
		_ = epollModify(l.epfd, r.fd, pausedMask, r.token)
	}
}

// Resume takes Pause back and makes the loop look again: a ring gets a turn, a
// descriptor gets a call if its condition holds now. It may be called without a
// Pause before: after something that no doorbell tells, or by an edge-triggered
// handler that stopped early.
//
// Call it too after a send on an attached Sender that came up short outside its own
// turn: the loop arms a ring only after its turn, and a sender that is not armed is
// not told of room. The error matches ErrClosed if the registration or the loop is
// closed.
func (r *Registration) Resume() error {
	l := r.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.state.load()&flagClosed != 0 {
		return fmt.Errorf("reactor: resume: %w", ErrClosed)
	}
	r.state.resume()
	var err error
	if r.source != nil {
		err = l.enqueue(r)
	} else {
		err = r.rearm()
	}
	if err != nil {
		return fmt.Errorf("reactor: resume: %w", err)
	}
	return nil
}

// rearm makes the kernel report the condition of a descriptor anew, so what was
// seen during the pause is forgotten: it may be over. Needs l.mu.
func (r *Registration) rearm() error {
	if r.state.load()&phaseMask == phaseIdle {
		r.events.Store(0)
	}
	return epollModify(r.loop.epfd, r.fd, r.mask(), r.token)
}
