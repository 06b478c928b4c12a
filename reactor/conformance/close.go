package conformance

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// Registration.Close in every phase from every place: in the callback of the
// registration itself, in another one, in a post, and on another goroutine.
func testCloseMatrix(r *rig) {
	for _, phase := range []string{"idle", "queued", "paused"} { // idle is hot in a hot loop
		for _, place := range []string{"other", "post", "goroutine"} {
			c := newCloseCase(r)
			c.closeBetweenTurns(phase, place)
			c.after(phase + "/" + place)
		}
	}
	for _, phase := range []string{"running", "paused"} {
		c := newCloseCase(r)
		c.closeInOwnTurn(phase)
		c.after(phase + "/own")
	}
}

// closeCase has a registration to close, the victim, and another one.
type closeCase struct {
	*rig
	tx      *sharedring.Sender[uint64]
	rx      *sharedring.Receiver[uint64]
	victim  Registration
	closed  atomic.Bool // Close has returned
	turns   atomic.Int64
	inTurn  func() // what the victim's next turn does; of the loop's goroutine
	other   *sink
	feed    *sharedring.Sender[uint64]
	inOther func() // what the other's next turn does
}

func newCloseCase(r *rig) *closeCase {
	c := &closeCase{rig: r}
	var rx *sharedring.Receiver[uint64]
	c.feed, rx = r.incoming()
	c.other = r.newSink(rx, 8)
	c.other.reg = r.attach(rx, r.handler(func() error {
		if f := c.inOther; f != nil {
			c.inOther = nil
			f()
		}
		return c.other.ready()
	}, c.other.closed))

	c.tx, c.rx = r.incoming()
	buf := make([]uint64, 8)
	c.victim = r.attach(c.rx, r.handler(func() error {
		c.turns.Add(1)
		if c.closed.Load() {
			r.Errorf("a turn after Close")
		}
		_, err := c.rx.Receive(buf)
		if f := c.inTurn; f != nil {
			c.inTurn = nil
			f()
		}
		return err
	}, nil))
	c.until("first turn", func() bool { return c.turns.Load() > 0 })
	r.rounds()
	return c
}

func (c *closeCase) closeIt() {
	c.noError(errors.Join(c.victim.Close(), c.victim.Close()))
	c.closed.Store(true)
	if err := c.victim.Resume(); !errors.Is(err, reactor.ErrClosed) {
		c.Errorf("resume after Close: %v", err)
	}
}

func (c *closeCase) closeBetweenTurns(phase, place string) {
	f := func() {
		switch phase {
		case "queued":
			c.send(c.tx, 0, 1)
			c.noError(c.victim.Resume())
		case "paused":
			c.victim.Pause()
			c.send(c.tx, 0, 1)
		}
		c.closeIt()
	}
	switch place {
	case "post":
		c.do(f)
	case "other":
		done := make(chan bool)
		c.do(func() {
			c.inOther = func() {
				defer close(done)
				f()
			}
		})
		c.send(c.feed, 0, 1)
		c.await("a turn", done)
	case "goroutine": // the loop is held up meanwhile, so that what is queued stays so
		begun, goOn, done := make(chan bool), make(chan bool), make(chan bool)
		c.post(func() {
			close(begun)
			<-goOn
		})
		defer close(goOn)
		c.await("a post", begun)
		go func() {
			defer close(done)
			f()
		}()
		c.await("Close beside a callback that is not its own", done)
	}
}

func (c *closeCase) closeInOwnTurn(phase string) {
	done := make(chan bool)
	c.do(func() {
		c.inTurn = func() {
			defer close(done)
			if phase == "paused" {
				c.victim.Pause()
			}
			c.closeIt()
		}
	})
	c.send(c.tx, 0, 1)
	c.await("a turn", done)
}

// after checks that the victim is closed, and that this has done no harm.
func (c *closeCase) after(what string) {
	c.Helper()
	turns := c.turns.Load()
	c.send(c.tx, 1, 10)
	c.noError(c.tx.Signal())
	c.victim.Pause()
	c.rounds()
	require.Equal(c, turns, c.turns.Load(), "%s: a turn after Close", what)

	// What comes next gets the same descriptors.
	require.NoError(c, c.rx.Close())
	tx, rx := c.incoming()
	s := c.sink(rx, 8)
	c.send(tx, 0, 10)
	s.has(10)
	next := c.other.next.Load()
	c.send(c.feed, next, next+10)
	c.other.has(next + 10)
	require.Equal(c, turns, c.turns.Load(), "%s: a turn after Close", what)
}

// Close on another goroutine returns after the turn that is running, and not before.
func testCloseWaitsForTurn(r *rig) {
	for range r.times(100) {
		c := newCloseCase(r)
		var over atomic.Bool
		closing, done := make(chan bool), make(chan bool)
		r.do(func() {
			c.inTurn = func() {
				close(closing)
				for range 100 {
					runtime.Gosched()
				}
				over.Store(true)
			}
		})
		r.send(c.tx, 0, 1)
		r.await("a turn", closing)
		go func() {
			defer close(done)
			c.closeIt()
			if !over.Load() {
				r.Errorf("Close returned in the middle of a turn")
			}
		}()
		r.await("Close", done)
		require.NoError(r, c.other.reg.Close())
	}
}

// A registration that ended may be closed, also while it is told so.
func testCloseInClosed(r *rig) {
	_, rx := r.incoming()
	end := make(chan error, 10)
	var reg Registration
	r.attachFirst(&reg, rx, r.handler(func() error { return errTest }, func(err error) {
		r.noError(reg.Close())
		end <- err
	}))
	require.ErrorIs(r, r.only(end), errTest)
	require.NoError(r, reg.Close())
	require.ErrorIs(r, reg.Resume(), reactor.ErrClosed)
}

// Rings come and go while their peers send: no turn comes after Close, and none is
// taken for that of the next ring, which has the same descriptors.
func testCloseChurn(r *rig) {
	steady, rx := r.incoming()
	s := r.sink(rx, 8)
	all, cancelAll := context.WithCancel(r.Context())
	var peers sync.WaitGroup
	defer peers.Wait()
	defer cancelAll()
	for i := range uint64(r.times(200)) {
		tx, rx := r.incoming()
		var closed atomic.Bool
		var turns atomic.Int64
		buf := make([]uint64, 3)
		reg := r.attach(rx, r.handler(func() error {
			turns.Add(1)
			if closed.Load() {
				r.Errorf("a turn after Close")
			}
			_, err := rx.Receive(buf)
			return err
		}, nil))
		ctx, cancel := context.WithCancel(all)
		peers.Go(func() {
			for items := make([]uint64, 3); ; {
				if _, err := tx.SendContext(ctx, items); err != nil {
					return
				}
			}
		})
		r.until("turns", func() bool { return turns.Load() > int64(i%5) })
		require.NoError(r, reg.Close())
		closed.Store(true)
		require.NoError(r, rx.Close())
		r.send(steady, i, i+1)
		cancel()
	}
	s.has(uint64(r.times(200)))
}

// A ring fails while it is closed: Closed is called once or not at all, and not after
// Close has returned.
func testCloseOrClosed(r *rig) {
	for range r.times(200) {
		tx, rx := r.incoming()
		var ends atomic.Int64
		var closed atomic.Bool
		buf := make([]uint64, 1)
		reg := r.attach(rx, r.handler(func() error {
			if n, err := rx.Receive(buf); n == 0 || err != nil {
				return err
			}
			return errTest
		}, func(error) {
			if closed.Load() {
				r.Errorf("Closed was called after Close")
			}
			ends.Add(1)
		}))
		r.send(tx, 0, 1)
		require.NoError(r, reg.Close())
		closed.Store(true)
		before := ends.Load()
		require.LessOrEqual(r, before, int64(1))
		r.do(func() {})
		require.Equal(r, before, ends.Load())
	}
}
