package reactor

import (
	"fmt"
	"time"
)

// A Host is an event loop that waits for a Guest: it has the epoll set. The Guest
// calls it with a lock held, so a Host must not call the Guest back inside these
// methods. All three may be called from any goroutine.
type Host interface {
	// Watch begins to wait for input on fd, edge-triggered, and calls Guest.Edge with
	// token for each edge; also once when the wait began, if that is not yet so when
	// Watch returns. The descriptor is borrowed until Unwatch. A token has 48 bits and
	// is never 0.
	Watch(fd int, token uint64) error
	// Unwatch ends that, before the owner of fd may close it. Edges that are on their
	// way may still be told; the Guest drops them.
	Unwatch(fd int, token uint64) error
	// Wake makes the host call Guest.Turn soon. It is called at most once from when a
	// Turn decides that the host may sleep, which is before that Turn returns, to the
	// begin of the next. So a host that notes it clears its note before Turn, not after.
	Wake() error
}

// A Guest is a loop without a wait of its own: it services rings on the goroutine
// of an event loop that the program has already, its Host. Callbacks of rings
// and of the host's sockets then need no lock between them. Turns, handlers and the
// rules for goroutines are those of a Loop. What a host has itself, sockets and
// timers, a Guest leaves to it.
//
// The host calls Edge for each edge that it saw and then Turn, both on its own
// goroutine. Packages adapters/epoll and adapters/gnet are such hosts.
type Guest struct{ loop Loop }

// NewGuest makes a guest of h. It has no descriptors, but has to be closed. A nap, see
// [WithNap], is taken inside Turn and so holds up the host's descriptors for its time.
func NewGuest(h Host, opts ...Option) (*Guest, error) {
	if h == nil {
		return nil, fmt.Errorf("reactor: new guest: nil host: %w", ErrInvalid)
	}
	g := new(Guest)
	g.loop.init(opts)
	g.loop.host = h
	g.loop.epfd, g.loop.wakefd = -1, -1
	return g, nil
}

// Attach lets the guest service one end of a ring, as Loop.Attach does.
func (g *Guest) Attach(s Source, h Handler) (*Registration, error) { return g.loop.Attach(s, h) }

// Post runs f in one of the next Turns, as Loop.Post does.
func (g *Guest) Post(f func()) error { return g.loop.Post(f) }

// Stats returns the counters. Waits is always 0, Wakes counts calls of Host.Wake.
func (g *Guest) Stats() Stats { return g.loop.Stats() }

// Registered returns the number of registrations that the guest has now.
func (g *Guest) Registered() int { return g.loop.Registered() }

// OnLoop tells whether the calling goroutine runs the guest's callbacks.
func (g *Guest) OnLoop() bool { return g.loop.OnLoop() }

// Close ends the guest as Loop.Close ends a loop. Outside of a Turn the
// callbacks run on the calling goroutine, so call it on the host's.
func (g *Guest) Close() error { return g.loop.Close() }

// Edge tells that the host saw an edge for token. Turn has to follow. It is called on
// the host's goroutine. A token that is no longer in use does no harm.
func (g *Guest) Edge(token uint64) {
	l := &g.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed.Load() {
		l.dispatch(tokenOf(token), eventReadable)
	}
}

// Turn gives registrations their turns until none is due and none is polled, or until
// d has passed; at least one round. It can take longer by a round (200 us), by one turn
// that takes long, and by a nap. busy asks the host to call Turn again without
// waiting, after a look at its own descriptors: a budget is spent, rings are hot, or the
// guest naps.
// Otherwise the host may sleep; an edge or Wake tells when to call next. Turn is
// called on the host's goroutine, and not inside a callback; the error then matches
// ErrRunning. It matches ErrClosed after Close.
func (g *Guest) Turn(d time.Duration) (busy bool, err error) {
	l := &g.loop
	if err := l.enter(true); err != nil {
		return false, fmt.Errorf("reactor: turn: %w", err)
	}
	defer l.leave()
	l.now = time.Since(l.start)
	for began := l.now; ; {
		l.invite()
		l.work()
		l.now = time.Since(l.start)
		if busy = l.staysAwake(); !busy || l.now-began >= d || l.rests() {
			break
		}
	}
	l.moderate()
	if busy && l.rests() {
		l.takeNap() // and what it gathered comes in the next Turn, after the host's look
	}
	if l.closed.Load() {
		return false, fmt.Errorf("reactor: turn: %w", ErrClosed)
	}
	return busy, nil
}

// rests says that a napping guest has nothing to do but to ask hot rings.
func (l *Loop) rests() bool { return l.moderation.napping && !l.due() && l.batch.len() == 0 }

// invite takes in what came from other goroutines, in place of a wait.
func (l *Loop) invite() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awake, l.rung = true, false
	l.takeInbox()
}

// staysAwake decides whether the next Turn comes by itself: from the decision on,
// whoever has work has to wake the host if it does not.
func (l *Loop) staysAwake() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awake = !l.closed.Load() && (l.backlog() || len(l.hot) > 0 || l.moderation.napping)
	return l.awake
}

// watch, unwatch and wake are what a Loop does by itself and a Guest has its host do.
// They need l.mu.

func (l *Loop) watch(r *Registration) error {
	if l.host == nil {
		return epollAdd(l.epfd, r.fd, r.mask(), r.token)
	}
	k, err := r.token.datum()
	if err == nil {
		err = l.host.Watch(r.fd, k)
	}
	if err != nil {
		return fmt.Errorf("host: watch descriptor %d: %w", r.fd, err)
	}
	return nil
}

func (l *Loop) unwatch(r *Registration) error {
	if l.host == nil {
		return epollDelete(l.epfd, r.fd)
	}
	k, err := r.token.datum()
	if err == nil {
		err = l.host.Unwatch(r.fd, k)
	}
	if err != nil {
		return fmt.Errorf("host: unwatch descriptor %d: %w", r.fd, err)
	}
	return nil
}

func (l *Loop) wake() error {
	if l.host == nil {
		return eventfdWrite(l.wakefd)
	}
	if err := l.host.Wake(); err != nil {
		return fmt.Errorf("host: wake: %w", err)
	}
	return nil
}
