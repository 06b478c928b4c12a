package realring

import (
	"errors"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// startWithSockets starts a process at the far end of a ring with socket doorbells.
// Nobody watches it but the ring.
func startWithSockets(t *testing.T, role string, nearSends bool) *peer {
	near, far, err := sharedring.CreatePair(capacity, 8, sharedring.WithSocketDoorbells())
	require.NoError(t, err)
	if !nearSends {
		near, far = far, near
	}
	var files []*os.File
	for _, fd := range []int{far.Memory, far.EmptySignal, far.FullSignal} {
		files = append(files, os.NewFile(uintptr(fd), "ring"))
	}
	p := proctest.Start(t, role, files, strconv.Itoa(capacity))
	for _, f := range files {
		require.NoError(t, f.Close())
	}
	return &peer{p, near}
}

// naps has a loop sleep at once, and poll for a while. A ring that never sleeps is not
// told of an end that only its doorbell knows.
func naps(t *testing.T, f func(t *testing.T, spin reactor.Option)) {
	t.Run("asleep", func(t *testing.T) { f(t, reactor.WithSpin(0)) })
	t.Run("hot", func(t *testing.T) { f(t, reactor.WithSpin(50*time.Microsecond)) })
}

func TestSocketsOfASenderThatFinishes(t *testing.T) {
	naps(t, func(t *testing.T, spin reactor.Option) {
		l := run(t, spin)
		p := startWithSockets(t, "finish", false)
		s := newSink(t, l, p.near)
		require.ErrorIs(t, <-s.ends, io.EOF)
		require.EqualValues(t, 1000, s.next.Load())
		require.NoError(t, p.Wait())
		rounds(t, l)
		require.Empty(t, s.ends)
		require.Zero(t, l.Registered())
	})
}

func TestSocketsOfAKilledSender(t *testing.T) {
	naps(t, func(t *testing.T, spin reactor.Option) {
		l := run(t, spin)
		p := startWithSockets(t, "flood", false)
		s := newSink(t, l, p.near)
		until(t, "items", func() bool { return s.next.Load() > 1000 })
		require.NoError(t, p.Kill())
		require.ErrorIs(t, <-s.ends, sharedring.ErrPeerGone)
		rounds(t, l)
		require.Empty(t, s.ends)
		require.Zero(t, l.Registered())
	})
}

// Killed after the shared write and before the doorbell: its death is the bell.
func TestSocketsOfASenderKilledBeforeTheDoorbell(t *testing.T) {
	naps(t, func(t *testing.T, spin reactor.Option) {
		l := run(t, spin)
		p := startWithSockets(t, "fall", false)
		s := newSink(t, l, p.near)
		line(t, p, "up")
		until(t, "items", func() bool { return s.next.Load() == 100 })
		p.tell(t)
		require.ErrorIs(t, <-s.ends, sharedring.ErrPeerGone)
		require.EqualValues(t, 101, s.next.Load())
		_ = p.Wait() // says "killed"
	})
}

func TestSocketsOfAKilledReceiver(t *testing.T) {
	naps(t, func(t *testing.T, spin reactor.Option) {
		l := run(t, spin)
		p := startWithSockets(t, "receive", true)
		tx, err := sharedring.OpenSender[uint64](p.near)
		require.NoError(t, err)
		ends := make(chan error, 10)
		var sent atomic.Int64
		_, err = l.Attach(tx, reactor.Handler{
			Ready: func(reactor.Event) error {
				n, err := tx.Send(make([]uint64, 7))
				for n == 7 && err == nil {
					sent.Add(7)
					n, err = tx.Send(make([]uint64, 7))
				}
				sent.Add(int64(n))
				return err
			},
			Closed: func(err error) { ends <- errors.Join(err, tx.Close()) },
		})
		require.NoError(t, err)
		line(t, p, "received")
		until(t, "full", func() bool { return sent.Load() >= int64(tx.Len()-1) })
		require.NoError(t, p.Kill())
		require.ErrorIs(t, <-ends, sharedring.ErrPeerGone)
		rounds(t, l)
		require.Empty(t, ends)
		require.Zero(t, l.Registered())
	})
}

// Closing an attached end in the way that owners do is seen by the other loop.
func TestSocketsBetweenTwoLoops(t *testing.T) {
	near, far, err := sharedring.CreatePair(capacity, 8, sharedring.WithSocketDoorbells())
	require.NoError(t, err)
	tx, err := sharedring.OpenSender[uint64](near)
	require.NoError(t, err)
	here, there := run(t, reactor.WithSpin(0)), run(t, reactor.WithSpin(0))
	s := newSink(t, there, far)
	next := uint64(0)
	reg, err := here.Attach(tx, reactor.Handler{Ready: func(reactor.Event) error {
		for next < 100_000 {
			n, err := tx.Send([]uint64{next})
			if n == 0 {
				return err
			}
			next++
		}
		return nil
	}})
	require.NoError(t, err)
	until(t, "items", func() bool { return s.next.Load() == 100_000 })
	require.NoError(t, reg.Close())
	require.NoError(t, tx.Close())
	require.ErrorIs(t, <-s.ends, io.EOF)
}
