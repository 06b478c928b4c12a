package gnetring

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/shmloop/shmloop/reactor"
)

// A Registration is a ring end that is serviced on a gnet event loop. Its methods may be
// called from any goroutine, also inside callbacks.
type Registration struct {
	loop    *Loop
	source  reactor.Source
	handler reactor.Handler
	link    *link // nil: attached to no connection
	failure atomic.Pointer[error]
	listen  atomic.Bool // the next turn asks the source how its peer ended

	fallback bool // another route will do

	// Written once, under the loop's lock, before Attach returns.
	route Route
	token uint64 // in the guest; 0 before Watch
	reg   *reactor.Registration
}

// Attach services one end of a ring on this event loop, as reactor.Loop.Attach does:
// Ready gets a first turn at once. The doorbell is borrowed until the Registration is
// closed or Closed was called.
//
// Errors match reactor.ErrClosed, reactor.ErrInvalid, reactor.ErrRegistered for a
// descriptor that the loop has already, and ErrRoute. gnet takes doorbells in later:
// if that fails, Closed is told an error that matches ErrNotEnrolled.
func (l *Loop) Attach(s reactor.Source, h reactor.Handler, opts ...AttachOption) (*Registration, error) {
	return l.attach(s, h, nil, opts)
}

func (l *Loop) attach(s reactor.Source, h reactor.Handler, k *link, opts []AttachOption) (*Registration, error) {
	if s == nil || h.Ready == nil {
		return nil, fmt.Errorf("gnetring: attach: nil source or Ready: %w", reactor.ErrInvalid)
	}
	var a attachment
	for _, o := range opts {
		o(&a)
	}
	fd := s.FD()
	route, fallback, err := a.choose(fd)
	if err != nil {
		return nil, err
	}
	r := &Registration{loop: l, source: s, handler: h, link: k, route: route, fallback: fallback}
	if err := r.begin(fd); err != nil {
		return nil, fmt.Errorf("gnetring: attach: %w", l.explain(err))
	}
	return r, nil
}

func (r *Registration) begin(fd int) error {
	l := r.loop
	if err := l.reserve(fd, r); err != nil {
		return err
	}
	if err := r.link.add(r); err != nil {
		l.release(fd, r)
		return err
	}
	reg, err := l.guest.Attach(&ring{r.source, r}, reactor.Handler{Ready: r.ready, Closed: r.closed})
	if err != nil {
		l.release(fd, r)
		r.link.forget(r)
		return err
	}
	l.mu.Lock()
	r.reg = reg
	l.mu.Unlock()
	if r.failed() != nil {
		_ = reg.Resume() // for a failure that came before r.reg
	}
	return nil
}

// reserve lets Watch find r, and keeps out a second one with the same doorbell.
func (l *Loop) reserve(fd int, r *Registration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return reactor.ErrClosed
	}
	if l.fds[fd] != nil {
		return fmt.Errorf("descriptor %d: %w", fd, reactor.ErrRegistered)
	}
	l.fds[fd] = r
	return nil
}

// release undoes reserve where Unwatch was not called.
func (l *Loop) release(fd int, r *Registration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fds[fd] == r {
		delete(l.fds, fd)
	}
}

// Close ends the registration without a call of Closed, as reactor.Registration.Close
// does; a connection that the ring is attached to is closed too. It is idempotent.
func (r *Registration) Close() error {
	err := r.reg.Close()
	r.link.ended(r, nil)
	if err != nil {
		return fmt.Errorf("gnetring: %w", err)
	}
	return nil
}

// Pause holds back Ready until Resume, as reactor.Registration.Pause does.
func (r *Registration) Pause() { r.reg.Pause() }

// Resume takes Pause back and gives the ring a turn, as reactor.Registration.Resume
// does. The error matches reactor.ErrClosed.
func (r *Registration) Resume() error { return r.reg.Resume() }

// Stats returns the counters, also after Close.
func (r *Registration) Stats() reactor.RegistrationStats { return r.reg.Stats() }

// Route returns the route in use.
func (r *Registration) Route() Route { return r.route }

// Loop returns the event loop's rings, for rings and posts that belong together with
// this one.
func (r *Registration) Loop() *Loop { return r.loop }

// fail ends the ring with err, from any goroutine.
func (r *Registration) fail(err error) {
	if !r.failure.CompareAndSwap(nil, &err) {
		return
	}
	r.loop.mu.Lock()
	reg := r.reg
	r.loop.mu.Unlock()
	if reg != nil {
		_ = reg.Resume() // an error means that it has ended
	}
}

func (r *Registration) failed() error {
	if err := r.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// peerLeft is told when a doorbell came to its end of file. A source that hears bells
// knows from their number whether that is a clean end.
func (r *Registration) peerLeft() {
	if _, ok := r.source.(hearer); !ok {
		r.hangUp(errPeerLeft)
		return
	}
	r.listen.Store(true) // in a turn: only there the source is not its owner's
	r.poke()
}

// hearer is a source with a socket as doorbell that is told what was read from it.
type hearer interface{ Heard(n int) }

// hangUp has the ring drained, and then ended by the error that it returns. reason is nil
// for a clean end.
func (r *Registration) hangUp(reason error) {
	if s, ok := r.source.(interface{ HangUp(error) }); ok {
		s.HangUp(reason)
		r.poke()
		return
	}
	if reason == nil {
		reason = io.EOF
	}
	r.fail(reason)
}

// poke is an edge in place of the doorbell's, which may be gone.
func (r *Registration) poke() {
	r.loop.mu.Lock()
	token := r.token
	r.loop.mu.Unlock()
	if token != 0 { // else its first turn is to come
		r.loop.relayed(token)
	}
}

// ring is the source of a registration. One that failed ends where it would sleep.
type ring struct {
	reactor.Source
	r *Registration
}

func (s *ring) Arm() (bool, error) {
	if err := s.r.failed(); err != nil {
		return false, err
	}
	return s.Source.Arm()
}

// Doorbells is for a guest that naps: too many mean that its naps are too long. It is
// constant for a source that does not count them.
func (s *ring) Doorbells() uint64 {
	if b, ok := s.Source.(interface{ Doorbells() uint64 }); ok {
		return b.Doorbells()
	}
	return 0
}

func (r *Registration) ready(ev reactor.Event) error {
	if err := r.failed(); err != nil {
		return err
	}
	if r.listen.Swap(false) {
		_, _ = r.source.Arm() // Ready meets its error again
	}
	return r.handler.Ready(ev)
}

func (r *Registration) closed(err error) {
	defer r.link.ended(r, err) // also after a panic
	if r.handler.Closed == nil {
		return
	}
	r.handler.Closed(r.loop.explain(err))
}
