package reactor_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// What is closed, from where, in which phase, for both ends of a ring. Afterwards no
// callback comes but the one Closed that is due, and another ring is exact if the
// loop still runs.
func TestCloseMatrixWithRealRings(t *testing.T) {
	for _, end := range []string{"receiver", "sender"} {
		for _, what := range []string{"registration", "ring", "loop"} {
			for _, phase := range []string{"idle", "queued", "running", "hot", "paused"} {
				for _, place := range []string{"own", "other", "goroutine", "post", "timer"} {
					if place == "own" && phase != "running" && phase != "paused" {
						continue // a callback that runs is running
					}
					if phase == "running" && place != "own" && place != "goroutine" {
						continue // one callback at a time
					}
					t.Run(fmt.Sprint(end, "/", what, "/", phase, "/", place), func(t *testing.T) {
						newClosing(t, end, phase).test(what, phase, place)
					})
				}
			}
		}
	}
}

// closing has a victim, attached with an end that has nothing to do, and another
// ring on the same loop.
type closing struct {
	*rig
	victim  *reactor.Registration
	bell    int // of the victim
	ended   func() error
	signal  func() error // by the peer
	looks   atomic.Int64 // of the loop, between turns
	armed   atomic.Int64
	turns   atomic.Int64
	inTurn  atomic.Pointer[func()] // what the victim's next turn does
	inOther atomic.Pointer[func()]
	ends    chan error
	other   *ring[uint64]
	sum     *checker
	what    string       // is closed
	atClose atomic.Int64 // turns when that was done
}

func newClosing(t *testing.T, end, phase string) *closing {
	spin := reactor.WithSpin(0)
	if phase == "hot" {
		spin = reactor.WithSpin(time.Hour)
	}
	c := &closing{rig: newRig(t, spin), ends: make(chan error, 10)}
	c.run()

	c.other = newRing[uint64](c.rig, 10)
	c.sum = &checker{rx: c.other.rx}
	c.attach(c.other.rx, endsWithLoop(t, func(reactor.Event) error {
		_, err := c.sum.take(10)
		perform(&c.inOther)
		return err
	}))

	r := newRing[uint64](c.rig, 10)
	source := &hooked{Source: r.rx, pending: func() { c.looks.Add(1) }, arm: func() { c.armed.Add(1) }}
	use := func() error {
		_, err := r.rx.Receive(make([]uint64, 10))
		return err
	}
	c.signal, c.ended = r.tx.Signal, r.rx.Close
	if end == "sender" {
		source.Source = r.tx
		use = func() error {
			_, err := r.tx.Send([]uint64{1})
			return err
		}
		c.signal, c.ended = r.rx.Signal, r.tx.Close
	}
	c.bell = source.FD()
	c.victim = c.attach(source, reactor.Handler{
		Ready: func(reactor.Event) error {
			c.turns.Add(1)
			perform(&c.inTurn)
			return use()
		},
		Closed: func(err error) { c.ends <- err },
	})
	c.rest(phase)
	return c
}

func perform(act *atomic.Pointer[func()]) {
	if f := act.Swap(nil); f != nil {
		(*f)()
	}
}

// rest waits until the victim sleeps or is polled.
func (c *closing) rest(phase string) {
	if phase == "hot" {
		turns := c.turns.Load()
		until(c.t, "a turn", func() bool { turns = c.turns.Load(); return turns > 0 })
		looks := c.looks.Load()
		until(c.t, "hot", func() bool { return c.looks.Load() > looks+2 })
		return
	}
	until(c.t, "armed", func() bool { return c.armed.Load() > 0 })
	c.rounds()
}

func (c *closing) test(what, phase, place string) {
	t := c.t
	var closed sync.WaitGroup
	closed.Add(1)
	act := func() {
		defer closed.Done()
		c.closeIt()
		c.atClose.Store(c.turns.Load())
	}
	c.what = what
	c.bring(phase, place, act)
	closed.Wait()
	if what == "ring" {
		// It ends at its next look or turn, which a paused or sleeping one gets by
		// Resume.
		if err := c.victim.Resume(); err != nil && !errors.Is(err, reactor.ErrClosed) {
			t.Error(err)
		}
	}
	c.requireEnd()
}

// closeIt may run on the loop.
func (c *closing) closeIt() {
	switch c.what {
	case "registration":
		noError(c.t, errors.Join(c.victim.Close(), c.victim.Close()))
		if err := c.victim.Resume(); !errors.Is(err, reactor.ErrClosed) {
			c.t.Errorf("resume after close: %v", err)
		}
		if c.watches(c.bell) {
			c.t.Error("closed, and still in the epoll set")
		}
	case "ring":
		noError(c.t, errors.Join(c.ended(), c.ended()))
	case "loop":
		noError(c.t, c.Loop.Close())
	}
}

// bring has act run at the place, with the victim in the phase.
func (c *closing) bring(phase, place string, act func()) {
	before := func() {} // with the loop held, or on it
	switch phase {
	case "queued":
		before = func() { noError(c.t, c.victim.Resume()) }
	case "paused":
		c.victim.Pause()
		noError(c.t, c.signal())
		c.rounds()
	}
	both := func() { before(); act() }
	switch place {
	case "own":
		c.inOwnTurn(phase, act)
	case "other":
		c.inOther.Store(&both)
		noError(c.t, c.other.tx.Signal())
	case "post":
		noError(c.t, c.Post(both))
	case "timer":
		_, err := c.AfterFunc(0, both)
		noError(c.t, err)
	case "goroutine":
		c.onGoroutine(phase, both)
	}
}

func (c *closing) inOwnTurn(phase string, act func()) {
	f := func() {
		if phase == "paused" {
			c.victim.Pause()
		}
		act()
	}
	c.inTurn.Store(&f)
	noError(c.t, c.victim.Resume())
}

// onGoroutine runs act on another goroutine: beside the victim's turn, or with the
// loop held by a post so that the victim stays queued.
func (c *closing) onGoroutine(phase string, act func()) {
	begun, goOn := make(chan bool), make(chan bool)
	held := func() { close(begun); <-goOn }
	switch phase {
	case "running":
		c.inTurn.Store(&held)
		noError(c.t, c.victim.Resume())
	case "queued":
		noError(c.t, c.Post(held))
	default:
		elsewhere(act)
		return
	}
	<-begun
	go act()
	until(c.t, "closing", c.begun)
	close(goOn)
}

// begun says whether the close is under way: it may wait for the turn.
func (c *closing) begun() bool {
	switch c.what {
	case "registration":
		return errors.Is(c.victim.Resume(), reactor.ErrClosed)
	case "loop":
		return errors.Is(c.Post(func() {}), reactor.ErrClosed)
	}
	return c.atClose.Load() > 0
}

func (c *closing) requireEnd() {
	t := c.t
	switch c.what {
	case "registration":
		require.Equal(t, c.atClose.Load(), c.turns.Load(), "no turn after Close")
	case "ring":
		require.ErrorIs(t, <-c.ends, sharedring.ErrClosed)
	case "loop":
		require.ErrorIs(t, <-c.ends, reactor.ErrClosed)
		require.NoError(t, c.Close())
		require.Empty(t, c.ends)
		require.Zero(t, c.Registered())
		return
	}
	turns := c.turns.Load()
	require.NoError(t, c.signal())
	c.victim.Pause()
	flood(t, c.other.tx, 1000)
	until(t, "the other ring's items", func() bool { return c.sum.next.Load() == 1000 })
	c.rounds()
	require.Equal(t, turns, c.turns.Load())
	require.Empty(t, c.ends)
	require.Equal(t, 1, c.Registered())
}
