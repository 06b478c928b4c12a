package epoll

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/reactor"
)

func BenchmarkDirect(b *testing.B) { benchmark(b, "direct") }
func BenchmarkNested(b *testing.B) { benchmark(b, "nested") }

func benchmark(b *testing.B, way string) {
	b.Run("edge", func(b *testing.B) { benchmarkEdge(b, way) })
	b.Run("wake", func(b *testing.B) { benchmarkWake(b, way, reactor.WithSpin(0), reactor.WithNap(0)) })
	b.Run("adaptive", func(b *testing.B) { benchmarkWake(b, way) })
	b.Run("channel", func(b *testing.B) { benchmarkChannel(b, way) })
}

// One doorbell to the end of its callback, all on one goroutine.
func benchmarkEdge(b *testing.B, way string) {
	p := newProgram(b)
	r := ways[way](p, reactor.WithSpin(0))
	tx, rx := newRing(b, 64)
	buf := make([]uint64, 64)
	total := 0
	_, err := r.Attach(rx, reactor.Handler{Ready: func(reactor.Event) error {
		n, err := rx.Receive(buf)
		total += n
		return err
	}})
	require.NoError(b, err)
	p.step(r, 0)
	for b.Loop() {
		_, _ = tx.Send(buf[:1])
		for before := total; total == before; {
			p.step(r, -1)
		}
	}
	require.NoError(b, r.Close())
}

// A round trip: a message to a loop that sleeps, or by default is hot, and one back from
// its callback to a thread that sleeps in an epoll of its own.
func benchmarkWake(b *testing.B, way string, opts ...reactor.Option) {
	p := newProgram(b)
	r := ways[way](p, opts...)
	toLoop, rx := newRing(b, 64)
	fromLoop, back := newRing(b, 64)
	buf, answer := make([]uint64, 64), make([]uint64, 64)
	_, err := r.Attach(rx, reactor.Handler{Ready: func(reactor.Event) error {
		n, err := rx.Receive(buf)
		if n > 0 {
			_, err = fromLoop.Send(buf[:n])
		}
		return err
	}})
	require.NoError(b, err)
	p.run(r)
	here, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	require.NoError(b, err)
	defer unix.Close(here)
	require.NoError(b, epollAdd(here, back.FD(), edgeMask, 0))
	events := make([]Event, 1)
	for b.Loop() {
		_, _ = toLoop.Send(answer[:1])
		for {
			if n, _ := back.Receive(answer); n > 0 {
				break
			}
			if pending, _ := back.Arm(); !pending {
				_, _ = unix.EpollWait(here, events, -1)
			}
		}
	}
}

// A doorbell to a loop that sleeps, and word back from its callback to a goroutine.
func benchmarkChannel(b *testing.B, way string) {
	p := newProgram(b)
	r := ways[way](p, reactor.WithSpin(0))
	tx, rx := newRing(b, 64)
	buf := make([]uint64, 64)
	back := make(chan int, 64)
	_, err := r.Attach(rx, reactor.Handler{Ready: func(reactor.Event) error {
		n, err := rx.Receive(buf)
		if n > 0 {
			back <- n
		}
		return err
	}})
	require.NoError(b, err)
	p.run(r)
	for b.Loop() {
		_, _ = tx.Send([]uint64{1})
		<-back
	}
}
