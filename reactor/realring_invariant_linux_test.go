package reactor_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// I1: the peer sends as soon as it sees that all was taken, so between the last
// consumption and Arm.
func TestInvariant01NothingIsLostBeforeArmWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		holds(t, func(t *testing.T, hold sharedring.Option) {
			g := newRig(t, spin)
			r := newRing[uint64](g, 100, hold)
			c := &checker{rx: r.rx}
			g.run()
			g.attach(r.rx, c.taking(t, 64))
			items := uint64(repeat(500))
			for i := range items {
				_, err := r.tx.Send([]uint64{i})
				require.NoError(t, err)
				until(t, "taken", func() bool { return c.next.Load() == i+1 })
			}
		})
	})
}

// I1: the same, without luck: the send comes just before the last look.
func TestInvariant01SendBeforeTheLastLookWithRealRings(t *testing.T) {
	holds(t, func(t *testing.T, hold sharedring.Option) {
		g := newRig(t)
		r := newRing[uint64](g, 100, hold)
		c := &checker{rx: r.rx}
		late := uint64(1000)
		sent := uint64(0)
		g.attach(&hooked{Source: r.rx, arm: func() {
			if sent < late {
				_, err := r.tx.Send([]uint64{sent})
				require.NoError(t, err)
				sent++
			}
		}}, c.taking(t, 64))
		g.poll()
		require.Equal(t, late, c.next.Load())
	})
}

// I1: any number of items in any batches, with the ring now empty, now full.
func TestInvariant01FloodIsExactWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		holds(t, func(t *testing.T, hold sharedring.Option) {
			g := newRig(t, spin)
			r := newRing[uint64](g, 100, hold)
			c := &checker{rx: r.rx}
			g.run()
			g.attach(r.rx, c.taking(t, 50))
			items := repeat(20_000)
			flood(t, r.tx, items)
			until(t, "all taken", func() bool { return c.next.Load() == uint64(items) })
		})
	})
}

// I2: the peer sends once and nothing more; what a turn leaves gets another one.
func TestInvariant02RemainderIsServedWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		g := newRig(t, spin)
		r := newRing[uint64](g, 500)
		c := &checker{rx: r.rx}
		g.run()
		g.attach(r.rx, c.taking(t, 7))
		flood(t, r.tx, 500)
		until(t, "all taken", func() bool { return c.next.Load() == 500 })
	})
}

// I2: the handler pauses after each part, and Resume alone makes it go on.
func TestInvariant02PauseAndResumeWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		g := newRig(t, spin)
		r := newRing[uint64](g, 500)
		c := &checker{rx: r.rx}
		paused := make(chan bool, 1)
		var reg *reactor.Registration
		g.run()
		g.do(func() {
			reg = g.attach(r.rx, endsWithLoop(t, func(reactor.Event) error {
				n, err := c.take(9)
				if n > 0 {
					reg.Pause()
					paused <- true
				}
				return err
			}))
		})
		flood(t, r.tx, 500)
		for c.next.Load() < 500 {
			<-paused
			before := c.next.Load()
			g.do(func() {})
			require.Equal(t, before, c.next.Load(), "no turn in a pause")
			require.NoError(t, reg.Resume())
		}
	})
}

// I2: a sender that is paused while its ring is full goes on after Resume, though
// its peer has rung long before.
func TestInvariant02PausedSenderGoesOnWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		g := newRig(t, spin)
		r := newRing[uint64](g, 100, sharedring.WithHold(0))
		sent := 0
		length := r.tx.Len()
		g.run()
		reg := g.attach(r.tx, endsWithLoop(t, func(reactor.Event) error {
			n, err := r.tx.Send(numbers(sent, 2*length))
			sent += n
			return err
		}))
		until(t, "full", func() bool { return available(t, r.rx) == length })
		reg.Pause()
		g.rounds()
		c := &checker{rx: r.rx}
		n, err := c.take(length)
		require.NoError(t, err)
		require.Equal(t, length, n)
		g.rounds()
		require.Zero(t, available(t, r.rx))
		require.NoError(t, reg.Resume())
		until(t, "full again", func() bool { return available(t, r.rx) == length })
		_, err = c.take(length)
		require.NoError(t, err)
	})
}

func available[T any](t testing.TB, rx *sharedring.Receiver[T]) int {
	n, err := rx.Available()
	require.NoError(t, err)
	return n
}

// I3: whenever a sender's end sleeps, its ring is full. It has three slots and is
// written two at a time, so a part is written time and again.
func TestInvariant03SenderSleepsOnlyWhenFullWithRealRings(t *testing.T) {
	holds(t, func(t *testing.T, hold sharedring.Option) {
		const items = 300
		g := newRig(t)
		r := newRing[third](g, 3, hold)
		require.Equal(t, 3, r.tx.Len())
		sent := uint64(0)
		g.attach(r.tx, endsWithLoop(t, sendThirds(r.tx, &sent, items)))
		var got [3]third
		for next := uint64(0); next < items; {
			g.poll()
			require.Equal(t, min(3, items-int(next)), available(t, r.rx))
			n, err := r.rx.Receive(got[:1+next%3])
			require.NoError(t, err)
			for _, v := range got[:n] {
				require.Equal(t, next, v[0])
				next++
			}
			_, err = r.rx.Arm()
			require.NoError(t, err)
		}
	})
}

// sendThirds is a handler that sends 0, ..., items-1, two at a time.
func sendThirds(tx *sharedring.Sender[third], sent *uint64, items uint64) func(reactor.Event) error {
	return func(reactor.Event) error {
		for *sent < items {
			batch := make([]third, min(2, items-*sent))
			for i := range batch {
				batch[i][0] = *sent + uint64(i)
			}
			n, err := tx.Send(batch)
			*sent += uint64(n)
			if n < len(batch) || err != nil {
				return err
			}
		}
		return nil
	}
}

// I3: the peer takes items on another goroutine, asleep whenever it can be.
func TestInvariant03SenderIsCalledForRoomWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		holds(t, func(t *testing.T, hold sharedring.Option) {
			items := uint64(repeat(1000))
			g := newRig(t, spin)
			r := newRing[third](g, 3, hold)
			sent := uint64(0)
			g.run()
			g.attach(r.tx, endsWithLoop(t, sendThirds(r.tx, &sent, items)))
			ctx, cancel := r.context()
			defer cancel()
			var got [2]third
			for next := uint64(0); next < items; {
				n, err := r.rx.ReceiveContext(ctx, got[:])
				require.NoError(t, err)
				for _, v := range got[:n] {
					require.Equal(t, next, v[0])
					next++
				}
			}
		})
	})
}

// I3: room that comes just before the sender's last look is found.
func TestInvariant03RoomBeforeTheLastLookWithRealRings(t *testing.T) {
	holds(t, func(t *testing.T, hold sharedring.Option) {
		const items = 300
		g := newRig(t)
		r := newRing[third](g, 3, hold)
		sent, next := uint64(0), uint64(0)
		var got [1]third
		g.attach(&hooked{Source: r.tx, arm: func() {
			n, err := r.rx.Receive(got[:])
			require.NoError(t, err)
			for _, v := range got[:n] {
				require.Equal(t, next, v[0])
				next++
			}
			_, err = r.rx.Arm() // releases and rings if it has to
			require.NoError(t, err)
		}}, endsWithLoop(t, sendThirds(r.tx, &sent, items)))
		g.poll()
		require.EqualValues(t, items, sent)
	})
}

// I5: two goroutines pause and resume while edges arrive. The counter of turns is
// not atomic: two owners at once would race. After Close the ring is the closer's.
func TestInvariant05OneOwnerWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		for range repeat(12) {
			oneOwner(t, spin)
		}
	})
}

func oneOwner(t *testing.T, spin reactor.Option) {
	g := newRig(t, spin)
	r := newRing[uint64](g, 500)
	c := &checker{rx: r.rx}
	turns := 0
	g.run()
	reg := g.attach(r.rx, endsWithLoop(t, func(reactor.Event) error {
		turns++
		_, err := c.take(3)
		return err
	}))
	const items = 200
	var peers sync.WaitGroup
	peers.Go(func() {
		for i := range items {
			_, err := r.tx.Send([]uint64{uint64(i)})
			noError(t, errors.Join(err, r.tx.Signal()))
		}
	})
	for range 2 {
		peers.Go(func() {
			for i := 0; i < 100 || c.next.Load() == 0; i++ {
				reg.Pause()
				if err := reg.Resume(); err != nil && !errors.Is(err, reactor.ErrClosed) {
					t.Error(err)
				}
			}
			noError(t, reg.Close())
		})
	}
	until(t, "some taken", func() bool { return c.next.Load() > 0 })
	noError(t, reg.Close())
	require.Positive(t, turns)
	before := turns
	peers.Wait()
	for c.next.Load() < items {
		_, err := c.take(items)
		require.NoError(t, err)
	}
	require.Equal(t, before, turns)
}
