package epoll

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/reactor"
)

func TestNestedRefuses(t *testing.T) {
	_, err := NewNested(-1)
	require.ErrorIs(t, err, unix.EBADF)
	_, err = NewNested(int(os.Stdin.Fd()))
	require.ErrorIs(t, err, unix.EINVAL, "not an epoll set")
}

// One Dispatch is one round. What is left makes the next epoll_wait return at once.
func TestNestedStaysReadable(t *testing.T) {
	p := newProgram(t)
	n, err := NewNested(p.epfd)
	require.NoError(t, err)
	defer n.Close()
	tx, rx := newRing(t, 64)
	turns := 0
	_, err = n.Attach(rx, reactor.Handler{Ready: func(reactor.Event) error {
		turns++
		_, err := rx.Receive(make([]uint64, 1))
		return err
	}})
	require.NoError(t, err)
	_, err = tx.Send(make([]uint64, 5))
	require.NoError(t, err)
	for want := 1; want <= 5; want++ {
		p.step(n, -1)
		require.Equal(t, want, turns)
	}
	p.step(n, 0)
	require.Equal(t, 5, turns)
}

// The Loop's own descriptors and timers come with it.
func TestNestedHasTimersAndDescriptors(t *testing.T) {
	p := newProgram(t)
	n, err := NewNested(p.epfd)
	require.NoError(t, err)
	defer n.Close()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	var fired, readable bool
	_, err = n.AfterFunc(time.Millisecond, func() { fired = true })
	require.NoError(t, err)
	_, err = n.Register(int(r.Fd()), reactor.Readable, reactor.Handler{Ready: func(reactor.Event) error {
		readable = true
		_, err := r.Read(make([]byte, 1))
		return err
	}})
	require.NoError(t, err)
	_, err = w.Write([]byte{1})
	require.NoError(t, err)
	for !fired || !readable {
		p.step(n, -1)
	}
}

// Inside a callback, and after Close, Dispatch knows its event and does nothing.
func TestNestedDispatchOutOfPlace(t *testing.T) {
	p := newProgram(t)
	n, err := NewNested(p.epfd)
	require.NoError(t, err)
	events := make([]Event, 4)
	ran := 0
	require.NoError(t, n.Post(func() {
		ran++
		require.True(t, n.Dispatch(&events[0]))
	}))
	got, err := unix.EpollWait(p.epfd, events, -1)
	require.NoError(t, err)
	require.Equal(t, 1, got)
	require.True(t, n.Dispatch(&events[0]))
	require.Equal(t, 1, ran)
	require.NoError(t, n.Close())
	require.True(t, n.Dispatch(&events[0]))
	require.Equal(t, 1, ran)
	require.Empty(t, watched(t, p.epfd))
}
