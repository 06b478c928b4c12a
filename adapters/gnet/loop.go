package gnetring

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/shmloop/shmloop/reactor"
)

// budget is how long rings may keep gnet from looking at its sockets.
const budget = 100 * time.Microsecond

// maxDirect is how many edges are answered at once, and not after a look at the sockets.
const maxDirect = 16

// A Loop is the rings of one gnet event loop. All their callbacks run on that loop's
// goroutine, as those of its connections do. Its methods may be called from any
// goroutine, also inside callbacks.
type Loop struct {
	rings     *Rings
	el        gnet.EventLoop
	guest     *reactor.Guest
	done      chan struct{} // closed when it has ended
	goroutine atomic.Uint64 // of the event loop; 0 until bell is open
	finished  sync.Once
	taken     map[uint64]struct{} // edges being told; of the event loop

	// The lock is taken under that of guest, so guest is not called with it held.
	mu      sync.Mutex
	bell    bell
	edges   map[uint64]struct{} // from other goroutines, not yet told to guest; a set, so that no peer can make it grow
	relay   *relay              // nil until it is needed
	fds     map[int]*Registration
	watched map[uint64]watched
	direct  int // turns for edges since gnet looked at its sockets, as far as we know
	ended   bool
	cause   error // why it ended, nil for Close and the end of the event loop
}

// watched is a doorbell that this loop waits on.
type watched interface{ stop() error }

func newLoop(x *Rings, el gnet.EventLoop) (*Loop, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	l := &Loop{
		rings: x, el: el, done: make(chan struct{}),
		edges: make(map[uint64]struct{}), taken: make(map[uint64]struct{}),
		fds: make(map[int]*Registration), watched: make(map[uint64]watched),
	}
	g, err := reactor.NewGuest((*host)(l), x.options...)
	if err != nil {
		return nil, err
	}
	l.guest = g
	if err := l.openBell(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return l, nil
}

// Post runs f on the event loop's goroutine. If it returns nil, f runs once, also when
// the loop is closed. The error matches reactor.ErrClosed after Close or the end of
// the engine, reactor.ErrInvalid for a nil f. A panic in f is caught and counted in
// Stats.
func (l *Loop) Post(f func()) error { return l.guest.Post(f) }

// Stats returns the counters of the rings.
func (l *Loop) Stats() reactor.Stats { return l.guest.Stats() }

// Close lets go of all rings of this loop: posts that were accepted are run, and then
// the rings are told Closed(reactor.ErrClosed), on the event loop's goroutine. The event
// loop goes on, and Rings.Loop makes a new Loop of it. Close waits until that is done,
// except on the event loop's goroutine inside a ring's callback, where it follows that
// callback, and in the first moments of a Loop, when it follows later. It is idempotent.
// It must not be called with a lock held that a callback wants.
func (l *Loop) Close() error {
	l.rings.drop(l)
	if l.onLoop() {
		l.end()
		return nil
	}
	begun := l.begun()
	if l.endLater() && begun {
		<-l.done
	}
	return nil
}

// endLater has the event loop call end. It is false if that was done.
func (l *Loop) endLater() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.done:
		return false
	default:
	}
	l.ended = true
	l.ring()
	return true
}

// begun says whether the event loop has shown itself.
func (l *Loop) begun() bool { return l.goroutine.Load() != 0 }

func (l *Loop) onLoop() bool { return l.goroutine.Load() == goroutineID() }

// turn gives rings their turns, for d at the most. If there is more to do it goes on when
// gnet has looked at its sockets.
func (l *Loop) turn(d time.Duration) (busy bool, err error) {
	busy, err = l.guest.Turn(d)
	switch {
	case busy, errors.Is(err, reactor.ErrRunning):
		l.wake()
	case err != nil: // closed by a callback
		l.finish()
	}
	return busy, err
}

// wake has the event loop come to rung soon.
func (l *Loop) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring()
}

// edge tells the guest of one, and gives turns unless they are due anyhow. It takes one
// round: the edges of other rings, and sockets, may wait for gnet to come back to them.
func (l *Loop) edge(token uint64) {
	l.guest.Edge(token)
	if l.mayTurn() {
		_, _ = l.turn(0) // a guest that is closed or in its turn needs none
	}
}

// mayTurn is false if turns are due when gnet has looked at its sockets: that is asked
// for now and then, because a gnet that is edge-triggered does not leave a doorbell for as
// long as each turn has the peer ring again.
func (l *Loop) mayTurn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bell.rung {
		return false
	}
	l.direct++
	if l.direct > maxDirect {
		l.ring()
		return false
	}
	return true
}

// relayed is edge from another goroutine.
func (l *Loop) relayed(token uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.edges[token] = struct{}{}
	l.ring()
}

// rung is what the event loop does when its bell was rung.
func (l *Loop) rung() {
	l.mu.Lock()
	l.edges, l.taken = l.taken, l.edges
	l.direct = 0
	ended := l.ended
	l.mu.Unlock()
	if ended {
		l.end()
		return
	}
	for token := range l.taken {
		l.guest.Edge(token)
	}
	clear(l.taken)
	if busy, _ := l.turn(budget); busy {
		runtime.Gosched() // on one CPU a busy loop would else keep it for 10 ms
	}
}

// fail ends the loop for cause, on its goroutine if gnet can be asked for that.
func (l *Loop) fail(cause error) {
	l.mu.Lock()
	l.ended, l.cause = true, cause
	l.mu.Unlock()
	l.rings.drop(l)
	err := l.el.Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
		l.end()
		return nil
	}))
	if err != nil {
		l.end()
	}
}

// explain is err, or why this loop ended if all that err says is that it did.
func (l *Loop) explain(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil && errors.Is(err, reactor.ErrClosed) {
		return l.cause
	}
	return err
}

// end is Close on the event loop's goroutine, and what becomes of a loop whose event
// loop ends.
func (l *Loop) end() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.rings.drop(l)
	inTurn := l.guest.OnLoop()
	_ = l.guest.Close() // a guest has nothing that could fail
	if !inTurn {
		l.finish() // else turn does it
	}
}

// finish lets go of what belongs to the loop itself.
func (l *Loop) finish() {
	l.finished.Do(func() {
		l.mu.Lock()
		l.ended = true
		l.bell.close()
		r := l.relay
		l.mu.Unlock()
		if r != nil {
			r.close()
		}
		close(l.done)
	})
}
