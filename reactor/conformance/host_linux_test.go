package conformance

import (
	"encoding/binary"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/reactor"
)

// defects are mistakes of an adapter that runs a Guest in an epoll loop.
type defects struct {
	dropEdge   uint64 // tells only so many edges
	dropWake   uint64 // rings only so many times for itself
	ignoreBusy bool   // does not come back for spent budgets and hot rings
	keepWatch  bool   // leaves doorbells in the epoll set
	lateTurn   bool   // asks for a turn only when there are two events
}

// host is an adapter in a few lines, as a program would write it.
type host struct {
	defects
	t            testing.TB
	epfd, wakefd int
	edges, wakes atomic.Uint64
	stop         atomic.Bool
}

func newHost(t testing.TB, d defects, opts ...reactor.Option) Loop {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	require.NoError(t, err)
	wakefd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	require.NoError(t, err)
	h := &host{defects: d, t: t, epfd: epfd, wakefd: wakefd}
	require.NoError(t, h.Watch(wakefd, 0))
	g, err := reactor.NewGuest(h, opts...)
	require.NoError(t, err)
	done := make(chan bool)
	go func() {
		defer close(done)
		h.run(g)
	}()
	t.Cleanup(func() {
		h.stop.Store(true)
		h.ring()
		<-done
		require.NoError(t, unix.Close(epfd))
		require.NoError(t, unix.Close(wakefd))
	})
	return Of(g)
}

func (h *host) run(g *reactor.Guest) {
	events := make([]unix.EpollEvent, 16)
	for timeout := -1; !h.stop.Load(); {
		n, _ := unix.EpollWait(h.epfd, events, timeout)
		for i := range max(n, 0) {
			token := uint64(uint32(events[i].Pad))<<32 | uint64(uint32(events[i].Fd))
			if token == 0 || h.dropEdge > 0 && h.edges.Add(1) > h.dropEdge {
				continue
			}
			g.Edge(token)
		}
		if h.lateTurn && n == 1 && events[0].Fd|events[0].Pad != 0 {
			continue
		}
		busy, _ := g.Turn(0)
		if timeout = -1; busy && !h.ignoreBusy {
			timeout = 0
		}
	}
}

func (h *host) Watch(fd int, token uint64) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(token), Pad: int32(token >> 32)}
	return unix.EpollCtl(h.epfd, unix.EPOLL_CTL_ADD, fd, &ev)
}

func (h *host) Unwatch(fd int, token uint64) error {
	if h.keepWatch {
		return nil
	}
	return unix.EpollCtl(h.epfd, unix.EPOLL_CTL_DEL, fd, nil)
}

func (h *host) Wake() error {
	if h.dropWake == 0 || h.wakes.Add(1) <= h.dropWake {
		h.ring()
	}
	return nil
}

func (h *host) ring() {
	_, _ = unix.Write(h.wakefd, binary.NativeEndian.AppendUint64(nil, 1))
}
