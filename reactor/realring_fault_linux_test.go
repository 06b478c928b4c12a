package reactor_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

// I6: all rings have a backlog, receivers and senders, and each turn moves one item:
// nobody has two turns before all others had one.
func TestInvariant06RoundRobinWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		const items = 60
		g := newRig(t, spin)
		var order strings.Builder
		var left atomic.Int64
		left.Store(4 * items)
		// Attached in one callback, so that no turn comes before the last of them.
		setUp := func(name string, source reactor.Source, move func() (int, error), again func() bool) {
			var reg *reactor.Registration
			reg = g.attach(source, endsWithLoop(t, func(reactor.Event) error {
				n, err := move()
				if n > 0 {
					order.WriteString(name)
					left.Add(-1)
				}
				if err == nil && again() {
					err = reg.Resume() // a sender's backlog is its owner's affair
				}
				return err
			}))
		}
		require.NoError(t, g.Post(func() {
			for _, name := range []string{"a", "b"} {
				in, out := newRing[uint64](g, 100), newRing[uint64](g, 100)
				flood(t, in.tx, items)
				c := &checker{rx: in.rx}
				setUp(name, in.rx, func() (int, error) { return c.take(1) }, func() bool { return false })
				sent := 0
				setUp(strings.ToUpper(name), out.tx, func() (int, error) {
					if sent == items {
						return 0, nil
					}
					sent++
					return out.tx.Send([]uint64{7})
				}, func() bool { return sent < items })
			}
		}))
		g.run()
		until(t, "all moved", func() bool { return left.Load() == 0 })
		g.do(func() {})
		require.Equal(t, strings.Repeat("aAbB", items), order.String())
	})
}

// I7: what came before the registration is found, though a third party has drained
// the doorbell.
func TestInvariant07WorkBeforeAttachWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		g := newRig(t, spin)
		g.run()
		t.Run("items", func(t *testing.T) {
			r := newRing[uint64](g, 100, sharedring.WithHold(0))
			flood(t, r.tx, 90)
			drainBell(t, r.third.EmptySignal)
			c := &checker{rx: r.rx}
			g.attach(r.rx, c.taking(t, 8))
			until(t, "all taken", func() bool { return c.next.Load() == 90 })
		})
		t.Run("room", func(t *testing.T) {
			r := newRing[uint64](g, 100, sharedring.WithHold(0))
			n := fill(t, r.tx)
			require.Equal(t, r.tx.Len(), n)
			c := &checker{rx: r.rx}
			_, err := c.take(n)
			require.NoError(t, err)
			drainBell(t, r.third.FullSignal)
			sent := make(chan int, 1)
			g.attach(r.tx, endsWithLoop(t, func(reactor.Event) error {
				n, err := r.tx.Send([]uint64{uint64(n)})
				if n > 0 {
					select {
					case sent <- n:
					default:
					}
				}
				return err
			}))
			require.Equal(t, 1, <-sent)
		})
	})
}

func drainBell(t testing.TB, fd int) {
	require.NotZero(t, rung(t, fd))
	_, err := unix.Read(fd, make([]byte, 8))
	require.NoError(t, err)
	require.Zero(t, rung(t, fd))
}

// I8: 1,000 doorbells are 1,000 edges and 1,000 turns, and nobody reads the counter.
func TestInvariant08DoorbellIsNeverReadWithRealRings(t *testing.T) {
	const times = 1000
	for name, act := range map[string]func(t *testing.T, g *rig, in, out *ring[uint64]){
		"items": func(t *testing.T, g *rig, in, _ *ring[uint64]) {
			for i := range times {
				_, err := in.tx.Send([]uint64{uint64(i)})
				require.NoError(t, err)
				g.poll()
			}
		},
		"room": func(t *testing.T, g *rig, _, out *ring[uint64]) {
			for range times {
				n, err := out.rx.Receive(make([]uint64, 1))
				require.NoError(t, err)
				require.Equal(t, 1, n)
				g.poll()
			}
		},
		"nothing": func(t *testing.T, g *rig, in, _ *ring[uint64]) {
			for range times {
				require.NoError(t, in.tx.Signal())
				g.poll()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t)
			in, out := newRing[uint64](g, 10, sharedring.WithHold(0)), newRing[uint64](g, 10, sharedring.WithHold(0))
			c := &checker{rx: in.rx}
			g.attach(in.rx, c.taking(t, 100))
			g.attach(out.tx, endsWithLoop(t, func(reactor.Event) error { // keeps it full
				_, err := out.tx.Send(numbers(0, 2*out.tx.Len()))
				return err
			}))
			g.poll()
			before, bells := g.Stats(), rung(t, in.third.EmptySignal)+rung(t, out.third.FullSignal)
			act(t, g, in, out)
			after := g.Stats()
			require.EqualValues(t, times, after.Edges-before.Edges)
			require.GreaterOrEqual(t, after.Services-before.Services, uint64(times))
			require.Equal(t, bells+times, rung(t, in.third.EmptySignal)+rung(t, out.third.FullSignal))
		})
	}
}

// I9: the callback consumed and then failed: the peer that sleeps on the full ring
// is woken all the same. So is one that sleeps on the empty ring when a callback has
// sent and failed.
func TestInvariant09FailureStillRingsWithRealRings(t *testing.T) {
	fail := map[string]func() error{
		"error": func() error { return errTest },
		"panic": func() error { panic(errTest) },
	}
	holds(t, func(t *testing.T, hold sharedring.Option) {
		for name, end := range fail {
			receive := map[string]func(*sharedring.Receiver[uint64]) error{
				"Receive": func(rx *sharedring.Receiver[uint64]) error {
					_, err := rx.Receive(make([]uint64, rx.Len()))
					return errors.Join(err, end())
				},
				"Discard": func(rx *sharedring.Receiver[uint64]) error {
					view, err := rx.Peek()
					return errors.Join(err, rx.Discard(len(view)), end())
				},
				"ReceiveEach": func(rx *sharedring.Receiver[uint64]) error {
					last := uint64(rx.Len() - 1)
					_, err := rx.ReceiveEach(rx.Len(), func(v uint64) {
						if v == last {
							err := end() // a panic in the middle
							_ = err
						}
					})
					return errors.Join(err, errTest)
				},
			}
			for call, f := range receive {
				t.Run(name+" after "+call, func(t *testing.T) { failingReceiver(t, hold, f) })
			}
			send := map[string]func(*sharedring.Sender[uint64]) error{
				"Send": func(tx *sharedring.Sender[uint64]) error {
					_, err := tx.Send([]uint64{0})
					return errors.Join(err, end())
				},
				"SendEach": func(tx *sharedring.Sender[uint64]) error {
					n := 0
					_, err := tx.SendEach(2, func() uint64 {
						if n++; n == 2 {
							err := end() // a panic in the middle
							_ = err
						}
						return 0
					})
					return errors.Join(err, errTest)
				},
			}
			for call, f := range send {
				t.Run(name+" after "+call, func(t *testing.T) { failingSender(t, hold, f) })
			}
		}
	})
}

func failingReceiver(t *testing.T, hold sharedring.Option, f func(*sharedring.Receiver[uint64]) error) {
	g := newRig(t)
	r := newRing[uint64](g, 100, hold)
	n := fill(t, r.tx)
	require.Equal(t, r.tx.Len(), n)
	sent := make(chan error, 1)
	go func() {
		ctx, cancel := r.context()
		defer cancel()
		_, err := r.tx.SendContext(ctx, []uint64{uint64(n)})
		sent <- err
	}()
	ends := 0
	g.attach(r.rx, reactor.Handler{
		Ready:  func(reactor.Event) error { return f(r.rx) },
		Closed: func(err error) { ends++; require.ErrorIs(t, err, errTest) },
	})
	g.poll()
	require.Equal(t, 1, ends)
	require.EqualValues(t, 1, r.rx.Doorbells())
	require.NoError(t, <-sent)
}

func failingSender(t *testing.T, hold sharedring.Option, f func(*sharedring.Sender[uint64]) error) {
	g := newRig(t)
	r := newRing[uint64](g, 100, hold)
	received := make(chan error, 1)
	go func() {
		ctx, cancel := r.context()
		defer cancel()
		_, err := r.rx.ReceiveContext(ctx, make([]uint64, 1))
		received <- err
	}()
	ends := 0
	g.attach(r.tx, reactor.Handler{
		Ready:  func(reactor.Event) error { return f(r.tx) },
		Closed: func(err error) { ends++; require.ErrorIs(t, err, errTest) },
	})
	g.poll()
	require.Equal(t, 1, ends)
	require.EqualValues(t, 1, r.tx.Doorbells())
	require.NoError(t, <-received)
}

// I10: rings come and go, their descriptors' numbers are used again, and the peers
// of the old ones go on ringing.
func TestInvariant10ReusedDescriptorsWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		g := newRig(t, spin)
		g.run()
		seen := map[int]bool{}
		var old []int
		rounds := repeat(100)
		for range rounds {
			r, err := openRing[uint64](10)
			require.NoError(t, err)
			seen[r.rx.FD()] = true
			c := &checker{rx: r.rx}
			reg := g.attach(r.rx, c.taking(t, 2))
			flood(t, r.tx, 20)
			until(t, "all taken", func() bool { return c.next.Load() == 20 })
			require.True(t, g.watches(r.rx.FD()))
			require.NoError(t, reg.Close())
			require.False(t, g.watches(r.rx.FD()))
			// The peer's copy of the doorbell lives on, out of the way of the numbers.
			bell, err := unix.FcntlInt(uintptr(r.third.EmptySignal), unix.F_DUPFD_CLOEXEC, 600)
			require.NoError(t, err)
			g.own(func() error { return unix.Close(bell) })
			old = append(old, bell)
			require.NoError(t, r.close())
		}
		require.Less(t, len(seen), rounds, "numbers are used again")
		g.rounds()
		before := g.Stats()
		for _, bell := range old {
			_, err := unix.Write(bell, binary.NativeEndian.AppendUint64(nil, 1))
			require.NoError(t, err)
		}
		g.rounds()
		require.Equal(t, before.Spurious, g.Stats().Spurious, "no event of a closed ring")
		require.Equal(t, before.Edges, g.Stats().Edges)
		require.Zero(t, g.Stats().Registered)
	})
}

// I10: after the peer's end, all that it has sent is received, then the end is
// told once.
func TestInvariant10PeerGoneWithRealRings(t *testing.T) {
	for name, c := range map[string]struct{ reason, want error }{
		"clean": {nil, io.EOF},
		"crash": {errTest, sharedring.ErrPeerGone},
	} {
		t.Run(name, func(t *testing.T) {
			spins(t, func(t *testing.T, spin reactor.Option) {
				g := newRig(t, spin)
				r := newRing[uint64](g, 500)
				sum := &checker{rx: r.rx}
				var ends []error
				var all sync.WaitGroup
				all.Add(1)
				g.attach(r.rx, reactor.Handler{
					Ready: func(reactor.Event) error {
						_, err := sum.take(7)
						return err
					},
					Closed: func(err error) {
						noError(t, r.rx.Close())
						ends = append(ends, err)
						all.Done()
					},
				})
				g.run()
				flood(t, r.tx, 400)
				r.rx.HangUp(c.reason)
				all.Wait()
				require.EqualValues(t, 400, sum.next.Load())
				noError(t, r.tx.Signal())
				g.rounds()
				require.Len(t, ends, 1)
				require.ErrorIs(t, ends[0], c.want)
				require.Zero(t, g.Stats().Spurious)
			})
		})
	}
}

// I11: two rings have an edge in the same wait. The callback of the first closes the
// second and gives its slot to a third, which must not get the second's event.
func TestInvariant11SlotWithANewTenantWithRealRings(t *testing.T) {
	g := newRig(t)
	first, second, young := newRing[uint64](g, 10), newRing[uint64](g, 10), newRing[uint64](g, 10)
	a, b := &checker{rx: first.rx}, &checker{rx: second.rx}
	var victim *reactor.Registration
	turns := 0
	act := false
	g.attach(first.rx, endsWithLoop(t, func(reactor.Event) error {
		_, err := a.take(10)
		if !act {
			return err
		}
		act = false
		g.attach(young.rx, endsWithLoop(t, func(reactor.Event) error { turns++; return nil }))
		return errors.Join(err, victim.Close())
	}))
	victim = g.attach(second.rx, b.taking(t, 10))
	g.poll()
	act = true
	flood(t, first.tx, 5)
	flood(t, second.tx, 5)
	g.poll()
	require.EqualValues(t, 5, a.next.Load())
	require.Zero(t, b.next.Load())
	require.Equal(t, 1, turns, "its first one only")
}

// I11: an end closed too early leaves a ghost in the epoll set. Its events are
// dropped, also when slot and descriptor have a new tenant.
func TestInvariant11GhostIsDroppedWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		g := newRig(t, spin)
		g.run()
		old := newRing[uint64](g, 10)
		c := &checker{rx: old.rx}
		reg := g.attach(old.rx, c.taking(t, 10))
		g.rounds()
		reg.Pause() // a turn would find the end closed
		g.rounds()
		require.NoError(t, old.rx.Close())
		require.ErrorIs(t, reg.Close(), unix.EBADF)

		r := newRing[uint64](g, 10)
		young := &checker{rx: r.rx}
		g.attach(r.rx, young.taking(t, 10))
		before := g.Stats().Spurious
		for i := range 20 {
			require.NoError(t, old.tx.Signal())
			until(t, "ghost seen", func() bool { return g.Stats().Spurious > before+uint64(i) })
		}
		flood(t, r.tx, 100)
		until(t, "all taken", func() bool { return young.next.Load() == 100 })
	})
}

// I12: the peer fills the counters and takes O_NONBLOCK away. Neither the loop nor
// another ring notices.
func TestInvariant12HostileDoorbellWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		g := newRig(t, spin)
		hostile, good, answers := newRing[uint64](g, 50), newRing[uint64](g, 50), newRing[uint64](g, 50)
		for _, r := range []*ring[uint64]{hostile, answers} {
			for _, fd := range []int{r.third.EmptySignal, r.third.FullSignal} {
				require.NoError(t, unix.SetNonblock(fd, false))
				_, err := unix.Write(fd, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
				if err != nil { // big-endian: the sum would be too large
					require.ErrorIs(t, err, unix.EAGAIN)
				}
			}
		}
		a, b, c := &checker{rx: hostile.rx}, &checker{rx: good.rx}, &checker{rx: answers.rx}
		items := repeat(5000)
		g.run()
		g.attach(hostile.rx, a.taking(t, 20))
		g.attach(good.rx, b.taking(t, 20))
		sent := 0
		g.attach(answers.tx, endsWithLoop(t, func(reactor.Event) error {
			n, err := answers.tx.Send(numbers(sent, items))
			sent += n
			return err
		}))
		var peers sync.WaitGroup
		peers.Go(func() { flood(t, hostile.tx, items) })
		peers.Go(func() { flood(t, good.tx, items) })
		peers.Go(func() {
			// The counter of the doorbell is full: only looks can help this peer.
			until(t, "answers", func() bool {
				_, err := c.take(20)
				_, armErr := answers.rx.Arm()
				noError(t, errors.Join(err, armErr))
				return c.next.Load() == uint64(items) || err != nil
			})
		})
		peers.Wait()
		until(t, "all taken", func() bool {
			return a.next.Load() == uint64(items) && b.next.Load() == uint64(items)
		})
	})
}

// I13: a peer writes a count that cannot be. It costs that ring, and one callback
// says so; the other rings go on.
func TestInvariant13CorruptCountWithRealRings(t *testing.T) {
	for _, side := range []string{"receiver", "sender"} {
		t.Run(side, func(t *testing.T) {
			spins(t, func(t *testing.T, spin reactor.Option) { corruptRing(t, side, spin) })
		})
	}
}

func corruptRing(t *testing.T, side string, spin reactor.Option) {
	g := newRig(t, spin)
	bad, good := newRing[uint64](g, 50), newRing[uint64](g, 50)
	c, d := &checker{rx: bad.rx}, &checker{rx: good.rx}
	ends := make(chan error, 10)
	turns := 0
	closed := func(err error) { ends <- err }
	g.run()
	g.attach(good.rx, d.taking(t, 20))
	var ring func() error
	if side == "receiver" {
		g.attach(bad.rx, reactor.Handler{Closed: closed, Ready: func(reactor.Event) error {
			turns++
			_, err := c.take(20)
			return err
		}})
		ring = bad.tx.Signal
		flood(t, bad.tx, 30)
		until(t, "taken", func() bool { return c.next.Load() == 30 })
	} else {
		var full atomic.Bool
		g.attach(bad.tx, reactor.Handler{Closed: closed, Ready: func(reactor.Event) error {
			turns++
			n, err := bad.tx.Send(make([]uint64, 2000))
			full.Store(n < 2000)
			return err
		}})
		ring = bad.rx.Signal
		until(t, "full", full.Load)
	}
	bad.corrupt(t)
	require.NoError(t, ring())
	require.ErrorIs(t, <-ends, ringbuf.ErrCorrupt)
	g.rounds()
	before := turns
	for range 20 {
		require.NoError(t, ring())
	}
	flood(t, good.tx, 2000)
	until(t, "all taken", func() bool { return d.next.Load() == 2000 })
	g.rounds()
	require.Empty(t, ends)
	require.Equal(t, before, turns)
	require.EqualValues(t, 1, g.Stats().Ended)
	require.Zero(t, g.Stats().Panics)
}

// I14: a peer was stopped between its shared write and its doorbell. A sweep by
// Resume finds what it did; nothing else does.
func TestInvariant14SweepFindsWhatWasNotToldWithRealRings(t *testing.T) {
	g := newRig(t)
	in, out := newRing[uint64](g, 50, sharedring.WithHold(0)), newRing[uint64](g, 50, sharedring.WithHold(0))
	c := &checker{rx: in.rx}
	receiver := g.attach(in.rx, c.taking(t, 20))
	length := out.tx.Len()
	sent := 0
	sender := g.attach(out.tx, endsWithLoop(t, func(reactor.Event) error {
		n, err := out.tx.Send(numbers(sent, 2*length))
		sent += n
		return err
	}))
	g.poll()
	require.Equal(t, length, sent)

	n, signal, err := in.tx.Raw().Send(numbers(0, 30))
	require.NoError(t, err)
	require.True(t, signal, "due, and not given")
	require.Equal(t, 30, n)
	n, signal, err = out.rx.Raw().Receive(make([]uint64, 30))
	require.NoError(t, err)
	require.True(t, signal, "due, and not given")
	require.Equal(t, 30, n)
	g.poll()
	require.Zero(t, c.next.Load())
	require.Equal(t, length, sent)

	require.NoError(t, errors.Join(receiver.Resume(), sender.Resume()))
	g.poll()
	require.EqualValues(t, 30, c.next.Load())
	require.Equal(t, length+30, sent)
}

// I14: the same with a hot ring, which is looked at anyhow, and a sweep by a timer
// that looks at the ones asleep.
func TestInvariant14SweepByATimerWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		g := newRig(t, spin)
		const rings = 8
		var all []*checker
		var peers []*ring[uint64]
		var regs []*reactor.Registration
		g.run()
		for range rings {
			r := newRing[uint64](g, 50, sharedring.WithHold(0))
			c := &checker{rx: r.rx}
			all, peers = append(all, c), append(peers, r)
			regs = append(regs, g.attach(r.rx, c.taking(t, 20)))
		}
		g.rounds()
		for _, r := range peers {
			_, _, err := r.tx.Raw().Send(numbers(0, 30))
			require.NoError(t, err)
		}
		_, err := g.AfterFunc(0, func() {
			for _, reg := range regs {
				noError(t, reg.Resume())
			}
		})
		require.NoError(t, err)
		for i, c := range all {
			until(t, fmt.Sprint("ring ", i), func() bool { return c.next.Load() == 30 })
		}
	})
}
