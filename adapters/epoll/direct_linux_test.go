package epoll

import (
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/reactor"
)

func newDirect(t testing.TB, opts ...reactor.Option) (*program, *Direct) {
	p := newProgram(t)
	d, err := NewDirect(p.epfd, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return p, d
}

// nothing is a handler that takes nothing.
var nothing = reactor.Handler{Ready: func(reactor.Event) error { return nil }}

func TestDirectTimeout(t *testing.T) {
	p, d := newDirect(t, reactor.WithSpin(0))
	for _, own := range []int{-1, 0, 250} {
		require.Equal(t, own, d.Timeout(own), "nothing to do")
	}
	tx, rx := newRing(t, 64)
	buf := make([]uint64, 1)
	_, err := d.Attach(rx, reactor.Handler{Ready: func(reactor.Event) error {
		_, err := rx.Receive(buf)
		spend(maxTurn) // one round a Turn
		return err
	}})
	require.NoError(t, err)
	p.step(d, -1)
	require.Equal(t, -1, d.Timeout(-1), "taken in")

	_, err = tx.Send(make([]uint64, 3))
	require.NoError(t, err)
	for left := 2; left >= 0; left-- {
		p.step(d, -1)
		require.Equal(t, left == 0, d.Timeout(-1) == -1, "left in the ring: %d", left)
	}
	require.NoError(t, d.Post(func() {}))
	require.Equal(t, 250, d.Timeout(250), "an event is to come")
	p.step(d, -1)
	require.Equal(t, 250, d.Timeout(250))
}

// spend takes d of the callback's time.
func spend(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

// A hot ring needs no doorbell, because the host does not sleep.
func TestDirectPollsHotRings(t *testing.T) {
	p, d := newDirect(t, reactor.WithSpin(time.Hour))
	tx, rx := newRing(t, 64)
	total := 0
	_, err := d.Attach(rx, reactor.Handler{Ready: func(reactor.Event) error {
		n, err := rx.Receive(make([]uint64, 8))
		total += n
		return err
	}})
	require.NoError(t, err)
	p.step(d, -1)
	edges := d.Stats().Edges
	for sent := 1; sent <= 10; sent++ {
		require.Zero(t, d.Timeout(-1))
		_, _, err := tx.Raw().Send([]uint64{1})
		require.NoError(t, err)
		for total < sent {
			p.step(d, -1)
		}
	}
	require.Equal(t, edges, d.Stats().Edges)
}

func TestDirectTurnErrors(t *testing.T) {
	p, d := newDirect(t)
	require.NoError(t, d.Turn(), "nothing to do")
	var inside error
	require.NoError(t, d.Post(func() {
		inside = d.Turn()
	}))
	p.step(d, -1)
	require.ErrorIs(t, inside, reactor.ErrRunning)
	require.NoError(t, d.Close())
	require.ErrorIs(t, d.Turn(), reactor.ErrClosed)
	require.Equal(t, -1, d.Timeout(-1))
	require.ErrorIs(t, d.Post(func() {}), reactor.ErrClosed)
}

// Closed inside a callback, all goes with the end of that Turn.
func TestDirectCloseInCallback(t *testing.T) {
	for _, where := range []string{"ready", "closed", "post"} {
		t.Run(where, func(t *testing.T) {
			p, d := newDirect(t)
			_, rx := newRing(t, 64)
			ends := 0
			h := reactor.Handler{
				Ready:  func(reactor.Event) error { return nil },
				Closed: func(error) { ends++ },
			}
			switch where {
			case "ready":
				h.Ready = func(reactor.Event) error { return d.Close() }
			case "closed":
				h.Ready = func(reactor.Event) error { return errors.New("end") }
				h.Closed = func(error) {
					ends++
					require.NoError(t, d.Close())
				}
			}
			_, err := d.Attach(rx, h)
			require.NoError(t, err)
			if where == "post" {
				require.NoError(t, d.Post(func() { require.NoError(t, d.Close()) }))
			}
			p.step(d, -1)
			require.Equal(t, 1, ends)
			require.Empty(t, watched(t, p.epfd))
			require.NoError(t, d.Close())
		})
	}
}

func TestDirectRefuses(t *testing.T) {
	_, err := NewDirect(-1)
	require.ErrorIs(t, err, unix.EBADF)
	_, err = NewDirect(int(os.Stdin.Fd()))
	require.ErrorIs(t, err, unix.EINVAL, "not an epoll set")

	p, d := newDirect(t)
	_, rx := newRing(t, 64)
	_, err = d.Attach(rx, nothing)
	require.NoError(t, err)
	_, err = d.Attach(rx, nothing)
	require.ErrorIs(t, err, reactor.ErrRegistered)

	file, err := os.Create(t.TempDir() + "/file")
	require.NoError(t, err)
	defer file.Close()
	_, err = d.Attach(noBell{rx, int(file.Fd())}, nothing)
	require.ErrorIs(t, err, reactor.ErrNotPollable)
	_, err = d.Attach(noBell{rx, -1}, nothing)
	require.ErrorIs(t, err, unix.EBADF)
	require.Equal(t, 1, d.Stats().Registered)
	p.step(d, -1)
}

// noBell is a source with another descriptor.
type noBell struct {
	reactor.Source
	fd int
}

func (n noBell) FD() int { return n.fd }

// An epoll set may have both.
func TestBothInOneSet(t *testing.T) {
	p, d := newDirect(t, reactor.WithSpin(0))
	n, err := NewNested(p.epfd, reactor.WithSpin(0))
	require.NoError(t, err)
	defer n.Close()
	var got [2]atomic.Int64
	for i, r := range []rings{d, n} {
		tx, rx := newRing(t, 64)
		_, err := r.Attach(rx, reactor.Handler{Ready: func(reactor.Event) error {
			k, err := rx.Receive(make([]uint64, 8))
			got[i].Add(int64(k))
			return err
		}})
		require.NoError(t, err)
		_, err = tx.Send([]uint64{1, 2, 3})
		require.NoError(t, err)
	}
	for got[0].Load() < 3 || got[1].Load() < 3 {
		p.step(both{d, n}, -1)
		require.NoError(t, d.Turn())
	}
}

type both struct {
	*Direct
	nested *Nested
}

func (b both) Dispatch(ev *Event) bool { return b.Direct.Dispatch(ev) || b.nested.Dispatch(ev) }

func TestDirectDoesNotAllocate(t *testing.T) {
	p, d := newDirect(t, reactor.WithSpin(0))
	tx, rx := newRing(t, 64)
	buf := make([]uint64, 8)
	_, err := d.Attach(rx, reactor.Handler{Ready: func(reactor.Event) error {
		_, err := rx.Receive(buf)
		return err
	}})
	require.NoError(t, err)
	events := make([]Event, 4)
	f := func() {}
	require.Zero(t, testing.AllocsPerRun(200, func() {
		_, err1 := tx.Send(buf[:1])
		err2 := d.Post(f)
		n, err3 := unix.EpollWait(p.epfd, events, d.Timeout(-1))
		for i := range n {
			d.Dispatch(&events[i])
		}
		if err := errors.Join(err1, err2, err3, d.Turn()); err != nil {
			t.Error(err)
		}
	}))
}
