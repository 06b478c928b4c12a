package reactor_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// A callback panics in the middle of a flood: that ring ends with a PanicError, the
// others are exact. So it is when Closed panics too.
func TestPanicWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		g := newRig(t, spin)
		bad, worse, good := newRing[uint64](g, 50), newRing[uint64](g, 50), newRing[uint64](g, 50)
		sum := &checker{rx: good.rx}
		ends := make(chan error, 10)
		panicking := func(rx *sharedring.Receiver[uint64], closed func(error)) reactor.Handler {
			c := &checker{rx: rx}
			return reactor.Handler{Closed: closed, Ready: func(reactor.Event) error {
				_, err := c.take(20)
				if c.next.Load() > 100 {
					panic(errTest)
				}
				return err
			}}
		}
		g.run()
		g.attach(good.rx, sum.taking(t, 20))
		g.attach(bad.rx, panicking(bad.rx, func(err error) { ends <- err }))
		g.attach(worse.rx, panicking(worse.rx, func(err error) { ends <- err; panic(err) }))
		items := repeat(5000)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var peers sync.WaitGroup
		for _, r := range []*ring[uint64]{bad, worse} {
			peers.Go(func() { // sends until it is told that nobody receives
				_, err := r.tx.SendContext(ctx, numbers(0, 10_000))
				if !errors.Is(err, context.Canceled) {
					t.Errorf("send: %v", err)
				}
			})
		}
		flood(t, good.tx, items)
		for range 2 {
			var panicked *reactor.PanicError
			require.ErrorAs(t, <-ends, &panicked)
			require.ErrorIs(t, panicked, errTest)
		}
		until(t, "all taken", func() bool { return sum.next.Load() == uint64(items) })
		cancel()
		peers.Wait()
		require.Empty(t, ends)
		require.Equal(t, 1, g.Registered())
		require.EqualValues(t, 3, g.Stats().Panics)
	})
}

// One handler never takes anything, another one item a turn: the other rings and a
// socket are served all the same, and the slow ring in the end too.
func TestHandlersThatTakeLittleWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		g := newRig(t, spin)
		stuck, slow, good := newRing[uint64](g, 50), newRing[uint64](g, 50), newRing[uint64](g, 50)
		one, sum := &checker{rx: slow.rx}, &checker{rx: good.rx}
		flood(t, stuck.tx, 40)
		g.run()
		var turns atomic.Int64
		g.attach(stuck.rx, endsWithLoop(t, func(reactor.Event) error {
			turns.Add(1)
			n, err := stuck.rx.Available()
			if n != 40 {
				t.Errorf("%d items in a ring of which nothing is taken", n)
			}
			return err
		}))
		g.attach(slow.rx, one.taking(t, 1))
		g.attach(good.rx, sum.taking(t, 20))
		near, far := socketpair(t, g)
		_, err := g.Register(near, reactor.Readable, endsWithLoop(t, func(reactor.Event) error {
			var buf [64]byte
			n, err := unix.Read(near, buf[:])
			if n > 0 {
				_, err = unix.Write(near, buf[:n])
			}
			return err
		}))
		require.NoError(t, err)
		items := repeat(2000)
		var peers sync.WaitGroup
		peers.Go(func() { flood(t, slow.tx, items) })
		peers.Go(func() { flood(t, good.tx, items) })
		for range repeat(100) {
			_, err := unix.Write(far, []byte{1})
			require.NoError(t, err)
			n, err := unix.Read(far, make([]byte, 8))
			require.NoError(t, err)
			require.Equal(t, 1, n)
		}
		peers.Wait()
		until(t, "all taken", func() bool {
			return sum.next.Load() == uint64(items) && one.next.Load() == uint64(items)
		})
		before := turns.Load()
		until(t, "the stuck ring's turns", func() bool { return turns.Load() > before })
	})
}

// socketpair returns the loop's end, which never blocks, and the peer's, which does.
func socketpair(t testing.TB, g *rig) (near, far int) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	g.own(func() error { return errors.Join(unix.Close(p[0]), unix.Close(p[1])) })
	require.NoError(t, unix.SetNonblock(p[0], true))
	return p[0], p[1]
}

// 8 goroutines make, attach, use and close 1,000 rings on two loops.
func TestChurnWithRealRings(t *testing.T) {
	const workers, each = 8, 125
	r, err := reactor.New(2)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- r.Run(context.Background()) }()
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := range each {
				noError(t, churnRing(t, r, i))
			}
		})
	}
	group.Wait()
	require.Zero(t, r.Stats().Registered)
	require.NoError(t, r.Close())
	require.ErrorIs(t, <-done, reactor.ErrClosed)
}

func churnRing(t *testing.T, r *reactor.Reactor, i int) error {
	ring, err := openRing[uint64](10)
	if err != nil {
		return err
	}
	c := &checker{rx: ring.rx}
	var over atomic.Bool
	some, ends := make(chan bool, 1), make(chan error, 1)
	reg, err := r.Attach(ring.rx, reactor.Handler{
		Ready: func(reactor.Event) error {
			if over.Load() {
				t.Error("callback after Close")
			}
			n, err := c.take(8)
			if n > 0 && len(some) == 0 {
				some <- true
			}
			return err
		},
		Closed: func(err error) { ends <- err },
	})
	if err != nil {
		return err
	}
	_, err = ring.tx.Send(numbers(0, 20))
	noError(t, err)
	switch i % 5 {
	case 0: // ends by itself
		ring.rx.HangUp(errTest)
		if err := <-ends; !errors.Is(err, sharedring.ErrPeerGone) || c.next.Load() != 20 {
			t.Errorf("ended with %d items: %v", c.next.Load(), err)
		}
	case 1:
		<-some
	case 2:
		reg.Pause()
		noError(t, reg.Resume())
		<-some
	case 3:
		reg.Pause()
	}
	err = reg.Close()
	over.Store(true)
	return errors.Join(err, ring.close())
}
