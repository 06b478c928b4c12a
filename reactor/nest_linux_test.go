package reactor

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestFDReadableForEachKindOfWork(t *testing.T) {
	h := newHarness(t)
	idle := func(when string) {
		require.False(t, h.readable(), when)
		before := h.Stats()
		n, err := h.Poll(0)
		require.NoError(t, err)
		require.Zero(t, n, when)
		require.Equal(t, before.Edges, h.Stats().Edges, when)
	}
	busy := func(when string, callbacks int) {
		require.True(t, h.readable(), when)
		n, err := h.Poll(0)
		require.NoError(t, err)
		require.Equal(t, callbacks, n, when)
	}
	idle("new")

	f := h.ring()
	limit := int64(1)
	reg := h.attach(f, Handler{Ready: func(Event) error { f.take(limit); return nil }})
	busy("attached", 1)
	idle("attached and served")

	f.send(1)
	busy("edge", 1)
	idle("edge served")

	f.send(3)
	busy("edge, one of three taken", 1)
	busy("two left", 1)
	busy("one left", 1)
	idle("none left")

	require.NoError(t, h.Post(func() { require.NoError(t, h.Post(func() {})) }))
	busy("post", 1)
	busy("post of a post", 1)
	idle("posts run")

	reg.Pause()
	f.send(1)
	busy("edge in a pause", 0)
	idle("edge in a pause seen")
	require.NoError(t, reg.Resume())
	busy("resumed", 1)
	idle("resumed and served")

	r, w := h.pipe()
	level := h.register(r, Readable, Handler{Ready: func(Event) error { return nil }})
	idle("empty pipe")
	ringBell(t, w)
	busy("level", 1)
	busy("level still", 1)
	require.NoError(t, level.Close())
	idle("level closed")

	require.NoError(t, reg.Resume())
	require.NoError(t, reg.Close())
	busy("closed while queued", 0)
	idle("closed")
}

// More events at once than the loop had room for before.
// All are seen by one wait, though their turns may take several rounds.
func TestFDManyEventsAtOnce(t *testing.T) {
	h := newHarness(t)
	var total atomic.Int64
	var rings []*fakeRing
	for range 300 {
		f := h.ring()
		rings = append(rings, f)
		h.attach(f, takeAll(f, &total))
	}
	h.poll()
	for _, f := range rings {
		f.send(1)
	}
	require.Equal(t, 300, h.poll(), "readable for as long as turns are due")
	require.False(t, h.readable())
}

// Anything may happen in any order: the descriptor is readable exactly when
// Poll(0) finds something.
func TestFDReadableExactly(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	h := newHarness(t)
	var rings []*fakeRing
	var regs []*Registration
	for range 8 {
		f := h.ring()
		rings = append(rings, f)
		regs = append(regs, h.attach(f, Handler{Ready: func(Event) error {
			f.take(1 + random.Int64N(3))
			switch random.IntN(20) {
			case 0:
				return h.Post(func() {})
			case 1:
				rings[random.IntN(8)].send(1)
			}
			return nil
		}}))
	}
	for range 5000 {
		i := random.IntN(8)
		switch random.IntN(8) {
		case 0:
			require.NoError(t, h.Post(func() {}))
		case 1:
			regs[i].Pause()
		case 2:
			require.NoError(t, regs[i].Resume())
		case 3, 4:
			rings[i].send(1 + random.Int64N(4))
		}
		queued := h.backlog() // perhaps of one that is paused by now
		was, before := h.readable(), h.Stats()
		n, err := h.Poll(0)
		require.NoError(t, err)
		require.Equal(t, was, queued || n > 0 || h.Stats().Edges > before.Edges)
	}
}

// The host has an epoll loop of its own.
func TestFDInAnotherEpoll(t *testing.T) {
	for name, mask := range map[string]uint32{"level": unix.EPOLLIN, "edge": unix.EPOLLIN | unix.EPOLLET} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			host, err := epollCreate()
			require.NoError(t, err)
			defer unix.Close(host)
			require.NoError(t, epollAdd(host, h.FD(), mask, token{slot: 7}))
			peers, total := startPeers(h, 4, 500)
			events := make([]pollEvent, 8)
			for total.Load() < 2000 {
				n, err := epollWait(host, events, -1)
				require.NoError(t, err)
				require.Equal(t, 1, n)
				drain(t, h.Loop, mask&unix.EPOLLET != 0)
			}
			peers()
		})
	}
}

// startPeers attaches rings and has goroutines send n items to each. Each item
// is taken in a turn of its own.
func startPeers(h *harness, rings, n int) (wait func(), total *atomic.Int64) {
	total = new(atomic.Int64)
	done := make(chan bool)
	for range rings {
		f := h.ring()
		h.attach(f, Handler{Ready: func(Event) error { total.Add(f.take(1)); return nil }})
		go func() {
			for range n {
				f.send(1)
			}
			done <- true
		}()
	}
	return func() {
		for range rings {
			<-done
		}
	}, total
}

// drain polls once, or until there is nothing, as a host does that is told of
// edges only.
func drain(t testing.TB, l *Loop, edges bool) {
	for {
		n, err := l.Poll(0)
		noError(t, err)
		if n == 0 || !edges {
			return
		}
	}
}

// The host is a goroutine that waits by Go's netpoller.
func TestFDInTheNetpoller(t *testing.T) {
	h := newHarness(t)
	fd, err := unix.FcntlInt(uintptr(h.FD()), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.SetNonblock(fd, true))
	file := os.NewFile(uintptr(fd), "loop")
	defer file.Close()
	require.NoError(t, file.SetReadDeadline(time.Time{}), "the netpoller has it")
	conn, err := file.SyscallConn()
	require.NoError(t, err)

	peers, total := startPeers(h, 4, 500)
	require.NoError(t, conn.Read(func(uintptr) (done bool) {
		drain(t, h.Loop, true)
		return total.Load() == 2000
	}))
	peers()
}

// The host calls poll(2).
func TestFDInPoll2(t *testing.T) {
	h := newHarness(t)
	peers, total := startPeers(h, 4, 500)
	fds := []unix.PollFd{{Fd: int32(h.FD()), Events: unix.POLLIN}}
	for total.Load() < 2000 {
		if _, err := unix.Poll(fds, -1); err != nil {
			require.ErrorIs(t, err, unix.EINTR)
			continue
		}
		drain(t, h.Loop, false)
	}
	peers()
}

// The host is another Loop.
func TestFDInAnotherLoop(t *testing.T) {
	outer, inner := newHarness(t), newHarness(t)
	all := make(chan bool)
	peers, total := startPeers(inner, 4, 500)
	outer.register(inner.FD(), Readable, Handler{Ready: func(Event) error {
		_, err := inner.Poll(0)
		if total.Load() == 2000 {
			return errors.Join(err, errTest)
		}
		return err
	}, Closed: func(err error) {
		if !errors.Is(err, errTest) {
			t.Error(err)
		}
		close(all)
	}})
	outer.run()
	<-all
	peers()
}
