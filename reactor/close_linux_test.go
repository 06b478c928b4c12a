package reactor

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Registration.Close from every place in every phase. "own" is the callback of
// the registration itself, "other" that of another one.
func TestCloseMatrix(t *testing.T) {
	for _, phase := range []string{"idle", "queued", "running", "paused"} {
		for _, place := range []string{"own", "other", "goroutine", "post"} {
			if place == "own" && (phase == "idle" || phase == "queued") {
				continue // a callback that runs is running
			}
			if phase == "running" && (place == "other" || place == "post") {
				continue // one callback at a time
			}
			for _, kind := range []string{"ring", "level", "edge"} {
				t.Run(fmt.Sprintf("%s/%s/%s", phase, place, kind), func(t *testing.T) {
					newCloseCase(t, kind).test(phase, place)
				})
			}
		}
	}
}

// closeCase has a registration to close, the victim, and another.
type closeCase struct {
	*harness
	victim  *Registration
	fd      int
	signal  func()
	turns   int
	inTurn  func() // what the victim's next turn does
	other   int
	inOther func() // what the other's next turn does
}

func newCloseCase(t *testing.T, kind string) *closeCase {
	c := &closeCase{harness: newHarness(t)}
	// The other is a descriptor that was there first, so it is first in each round.
	c.other = c.eventfd()
	c.register(c.other, Readable|EdgeTriggered, Handler{Ready: func(Event) error {
		if f := c.inOther; f != nil {
			c.inOther = nil
			f()
		}
		return nil
	}})
	c.poll()

	var drain func()
	hd := Handler{
		Ready: func(Event) error {
			c.turns++
			drain()
			if f := c.inTurn; f != nil {
				c.inTurn = nil
				f()
			}
			return nil
		},
		Closed: func(err error) { t.Errorf("closed: %v", err) },
	}
	if kind == "ring" {
		f := c.harness.ring()
		c.fd, c.signal = f.bell, func() { f.send(1) }
		drain = func() { f.take(1) }
		c.victim = c.attach(f, hd)
	} else {
		r, w := c.pipe()
		c.fd, c.signal = r, func() { ringBell(t, w) }
		drain = func() { _, _ = unix.Read(r, make([]byte, 8)) }
		interest := Readable
		if kind == "edge" {
			interest |= EdgeTriggered
		}
		c.victim = c.register(r, interest, hd)
	}
	c.poll()
	return c
}

func (c *closeCase) test(phase, place string) {
	t := c.t
	closeIt := func() {
		if err := errors.Join(c.victim.Close(), c.victim.Close()); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := c.victim.Resume(); !errors.Is(err, ErrClosed) {
			t.Errorf("resume after close: %v", err)
		}
		if watched(t, c.FD(), c.fd) {
			t.Error("closed, and still in the epoll set")
		}
	}
	var want int
	if phase == "running" || place == "own" {
		want = c.closeInTurn(phase, place, closeIt)
	} else {
		want = c.closeBetweenTurns(phase, place, closeIt)
	}
	require.Equal(t, want, c.turns)

	c.signal()
	c.victim.Pause()
	c.poll()
	require.Equal(t, want, c.turns, "no callback after Close")
	require.Equal(t, 1, c.Stats().Registered)
	require.False(t, c.readable())
	c.register(c.fd, Readable, Handler{Ready: func(Event) error { return errTest }})
	c.poll()
}

func (c *closeCase) closeInTurn(phase, place string, closeIt func()) (turns int) {
	var done sync.WaitGroup
	c.inTurn = func() {
		if phase == "paused" {
			c.victim.Pause()
		}
		if place == "own" {
			closeIt()
			return
		}
		var returned atomic.Bool
		done.Go(func() {
			closeIt()
			returned.Store(true)
		})
		for !isClosed(c.victim) { // the closer is about to wait for this turn
			runtime.Gosched()
		}
		for range 1000 {
			require.False(c.t, returned.Load(), "Close returned with the callback running")
		}
	}
	before := c.turns
	c.signal()
	c.poll()
	done.Wait()
	return before + 1
}

func (c *closeCase) closeBetweenTurns(phase, place string, closeIt func()) (turns int) {
	t := c.t
	if phase == "paused" {
		c.victim.Pause()
		c.signal()
		c.poll()
	}
	if phase == "queued" && place == "goroutine" {
		// Queued by Resume, or by the kernel, and not by a loop that runs.
		c.signal()
		require.NoError(t, c.victim.Resume())
		c.elsewhere(closeIt)
		return c.turns
	}
	switch place {
	case "goroutine":
		c.elsewhere(closeIt)
	case "other":
		c.inOther = closeIt
		ringBell(c.t, c.other)
	case "post":
		require.NoError(t, c.Post(closeIt))
	}
	if phase == "queued" {
		c.signal() // same wait, so it is queued when closeIt runs
	}
	turns = c.turns
	c.poll()
	return turns
}

func (c *closeCase) elsewhere(f func()) {
	var done sync.WaitGroup
	done.Go(f)
	done.Wait()
}

func isClosed(r *Registration) bool { return r.state.load()&flagClosed != 0 }

// Close of one registration waits neither for another's callback nor for
// epoll_wait.
func TestCloseWaitsForNothingElse(t *testing.T) {
	h := newHarness(t)
	h.run()
	busy, idle, queued := h.ring(), h.ring(), h.ring()
	begun, goOn := make(chan bool), make(chan bool)
	h.attach(busy, Handler{Ready: func(Event) error {
		if busy.take(1) > 0 {
			begun <- true
			<-goOn
		}
		return nil
	}})
	regIdle := h.attach(idle, nothing(t))
	turns := 0
	regQueued := h.attach(queued, Handler{Ready: func(Event) error {
		turns++
		return nil
	}})
	h.do(func() {})
	h.do(func() {}) // one round between

	busy.send(1)
	<-begun
	queued.send(1)
	require.NoError(t, regQueued.Close())
	goOn <- true
	h.do(func() {})
	require.Equal(t, 1, turns)

	// By now the loop waits in the kernel, or is about to.
	require.NoError(t, regIdle.Close())
}

// Two goroutines close while the callback runs: both wait for it.
func TestCloseWaitsForTheCallback(t *testing.T) {
	for _, callback := range []string{"ready", "closed"} {
		t.Run(callback, func(t *testing.T) {
			h := newHarness(t)
			h.run()
			f := h.ring()
			begun, goOn := make(chan bool), make(chan bool)
			var over atomic.Bool
			wait := func() {
				begun <- true
				<-goOn
				over.Store(true)
			}
			hd := Handler{Ready: func(Event) error { wait(); return nil }}
			if callback == "closed" {
				hd = Handler{
					Ready:  func(Event) error { return errTest },
					Closed: func(error) { wait() },
				}
			}
			reg := h.attach(f, hd)
			<-begun
			var closers sync.WaitGroup
			for range 2 {
				closers.Go(func() {
					noError(t, reg.Close())
					if !over.Load() {
						t.Error("Close returned before the callback")
					}
				})
			}
			goOn <- true
			closers.Wait()
		})
	}
}

// A registration may close itself while it is told that it ended.
func TestCloseInsideClosed(t *testing.T) {
	for _, driver := range []string{"run", "poll"} {
		t.Run(driver, func(t *testing.T) {
			h := newHarness(t)
			f := h.ring()
			told := make(chan error, 1)
			attach := func() {
				var reg *Registration
				reg = h.attach(f, Handler{
					Ready: func(Event) error { return errTest },
					Closed: func(err error) {
						noError(t, reg.Close())
						told <- err
					},
				})
			}
			if driver == "run" {
				h.run()
				h.do(attach)
			} else {
				attach()
				h.poll()
			}
			require.Equal(t, errTest, <-told)
		})
	}
}

// The owner closed in the callback and the callback failed: Closed is not called.
func TestCloseBeatsAnError(t *testing.T) {
	h := newHarness(t)
	var reg *Registration
	reg = h.attach(h.ring(), Handler{
		Ready: func(Event) error {
			require.NoError(t, reg.Close())
			return errTest
		},
		Closed: func(err error) { t.Errorf("closed: %v", err) },
	})
	h.poll()
	require.Zero(t, h.Stats().Ended)
}

// A ring closed in its own turn may be gone: the loop asks it nothing more.
func TestCloseInTurnAsksTheSourceNothing(t *testing.T) {
	h := newHarness(t)
	f := h.ring()
	var reg *Registration
	reg = h.attach(f, Handler{Ready: func(Event) error { return reg.Close() }})
	h.poll()
	require.Zero(t, f.looks.Load())
}

func TestLoopCloseTellsAll(t *testing.T) {
	for _, place := range []string{"goroutine", "callback", "post", "nobody runs", "poll", "closed"} {
		t.Run(place, func(t *testing.T) {
			h := newHarness(t)
			var ends []error
			hd := Handler{
				Ready:  func(Event) error { return nil },
				Closed: func(err error) { ends = append(ends, err) },
			}
			for range 3 {
				h.attach(h.ring(), hd)
			}
			r, _ := h.pipe()
			h.register(r, Readable, hd)
			paused := h.attach(h.ring(), hd)
			paused.Pause()
			f := h.ring()
			closeIt := func() { noError(t, h.Close()) }
			switch place {
			case "callback":
				h.attach(f, Handler{Ready: func(Event) error { closeIt(); return nil }})
			case "closed":
				h.attach(f, Handler{
					Ready:  func(Event) error { return errTest },
					Closed: func(error) { closeIt() },
				})
			case "post":
				require.NoError(t, h.Post(closeIt))
			}
			switch place {
			case "nobody runs":
				closeIt()
			case "poll":
				var closer sync.WaitGroup
				require.NoError(t, h.Post(func() { closer.Go(closeIt) }))
				for {
					_, err := h.Poll(-1)
					if err != nil {
						require.ErrorIs(t, err, ErrClosed)
						break
					}
				}
				closer.Wait()
			default:
				done := make(chan error, 1)
				go func() { done <- h.Run(t.Context()) }()
				if place == "goroutine" {
					h.do(func() {})
					closeIt()
				}
				require.ErrorIs(t, <-done, ErrClosed)
			}
			require.Equal(t, []error{ErrClosed, ErrClosed, ErrClosed, ErrClosed, ErrClosed}, ends)
			h.requireClosed()
		})
	}
}

func (h *harness) requireClosed() {
	t := h.t
	require.NoError(t, h.Close())
	require.Equal(t, -1, h.FD())
	require.Zero(t, h.Stats().Registered)
	require.ErrorIs(t, h.Post(func() {}), ErrClosed)
	_, err := h.Attach(h.ring(), nothing(t))
	require.ErrorIs(t, err, ErrClosed)
	_, err = h.Register(0, Readable, nothing(t))
	require.ErrorIs(t, err, ErrClosed)
	_, err = h.Poll(-1)
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, h.Run(t.Context()), ErrClosed)
}

// After Close no turn begins, though turns are due.
func TestLoopCloseEndsTheRound(t *testing.T) {
	h := newHarness(t)
	turns := 0
	for range 3 {
		h.attach(h.ring(), Handler{Ready: func(Event) error {
			turns++
			return h.Close()
		}})
	}
	_, err := h.Poll(0)
	require.ErrorIs(t, err, ErrClosed)
	require.Equal(t, 1, turns)
	h.requireClosed()
}

// While the loop closes, too, Registration.Close waits for Closed, except inside.
func TestRegistrationCloseWhileTheLoopCloses(t *testing.T) {
	h := newHarness(t)
	begun, goOn := make(chan bool), make(chan bool)
	var over atomic.Bool
	var reg *Registration
	reg = h.attach(h.ring(), Handler{
		Ready: func(Event) error { return nil },
		Closed: func(error) {
			noError(t, reg.Close())
			begun <- true
			<-goOn
			over.Store(true)
		},
	})
	var others sync.WaitGroup
	others.Go(func() { noError(t, h.Close()) })
	<-begun
	others.Go(func() {
		noError(t, reg.Close())
		if !over.Load() {
			t.Error("Close returned before the callback")
		}
	})
	for range 1000 {
		runtime.Gosched() // let it come too early, if it does
	}
	goOn <- true
	others.Wait()
}

// What was posted before Close is run by it, in order, and what these posts try
// to add is refused.
func TestLoopCloseRunsPosts(t *testing.T) {
	h := newHarness(t)
	var ran []int
	for i := range 3 {
		require.NoError(t, h.Post(func() {
			ran = append(ran, i)
			require.ErrorIs(t, h.Post(func() {}), ErrClosed)
		}))
	}
	h.attach(h.ring(), Handler{
		Ready:  func(Event) error { t.Error("turn after Close"); return nil },
		Closed: func(error) { require.Len(t, ran, 3) },
	})
	require.NoError(t, h.Close())
	require.Equal(t, []int{0, 1, 2}, ran)
}

// Close returns when all is over, for each of several who call it.
func TestLoopCloseWaits(t *testing.T) {
	h := newHarness(t)
	h.run()
	var told atomic.Bool
	begun := make(chan bool)
	h.attach(h.ring(), Handler{
		Ready:  func(Event) error { close(begun); return nil },
		Closed: func(error) { told.Store(true) },
	})
	<-begun
	var closers sync.WaitGroup
	for range 4 {
		closers.Go(func() {
			noError(t, h.Close())
			if !told.Load() {
				t.Error("Close returned before Closed was called")
			}
		})
	}
	closers.Wait()
}

// Registration.Close meets Loop.Close: exactly one of them ends it.
func TestLoopCloseBesideRegistrationClose(t *testing.T) {
	for range 50 {
		h := newHarness(t)
		done := make(chan error, 1)
		go func() { done <- h.Run(context.Background()) }()
		var regs []*Registration
		var told atomic.Int32
		for range 8 {
			regs = append(regs, h.attach(h.ring(), Handler{
				Ready:  func(Event) error { return nil },
				Closed: func(error) { told.Add(1) },
			}))
		}
		var closers sync.WaitGroup
		for _, r := range regs {
			closers.Go(func() {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		require.NoError(t, h.Close())
		closers.Wait()
		require.ErrorIs(t, <-done, ErrClosed)
		require.EqualValues(t, h.Stats().Ended, told.Load())
	}
}

// The loop of one goroutine closes a registration of another loop, whose
// callback is running: it waits, though it is inside a callback itself.
func TestCloseFromAnotherLoop(t *testing.T) {
	for _, driver := range []string{"run", "poll"} {
		t.Run(driver, func(t *testing.T) {
			closer, closee := newHarness(t), newHarness(t)
			closer.run()
			begun, goOn := make(chan bool), make(chan bool)
			over := false
			reg := closee.attach(closee.ring(), Handler{Ready: func(Event) error {
				close(begun)
				<-goOn
				over = true
				return nil
			}})
			polled := make(chan error, 1)
			if driver == "run" {
				closee.run()
				polled <- nil
			} else {
				go func() {
					_, err := closee.Poll(-1)
					polled <- err
				}()
			}
			<-begun
			done := make(chan bool)
			require.NoError(t, closer.Post(func() {
				if err := reg.Close(); err != nil || !over {
					t.Errorf("close: %v, callback over: %v", err, over)
				}
				close(done)
			}))
			goOn <- true
			<-done
			require.NoError(t, <-polled)
		})
	}
}
