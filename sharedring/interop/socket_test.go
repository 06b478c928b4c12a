//go:build linux

package interop_test

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/sharedring"
)

// The crate writes to and reads from whatever it was given, so it takes part in a ring
// with socket doorbells, which it cannot make itself.
var socketShapes = []shape{
	{"u64", 1, 504, 200_000},
	{"bytes4000", 1, 1, 1_000},
	{"bytes1300", 1, 3, 1_000},
}

func socketTrials() []trial {
	var all []trial
	for _, s := range socketShapes {
		for i := range 4 {
			all = append(all, trial{shape: s, hold: i & 1, inPlace: i&2 != 0, goSlow: (i^i>>1)&1 != 0})
		}
	}
	return all
}

// giveSockets starts a peer that holds its side of a ring, of which no copy stays here
// but the memory, to look at.
func giveSockets(t *testing.T, j job, e end) *peer {
	t.Helper()
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	h, err := e.Handle()
	require.NoError(t, err)
	memory, err := unix.FcntlInt(uintptr(h.Memory), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	p := startPeer(t, j,
		os.NewFile(uintptr(h.Memory), "memory"),
		os.NewFile(uintptr(h.EmptySignal), "empty-signal"),
		os.NewFile(uintptr(h.FullSignal), "full-signal"))
	p.probe = sharedring.Handle{Memory: memory, EmptySignal: -1, FullSignal: -1}
	t.Cleanup(func() { require.NoError(t, p.probe.Close()) })
	return p
}

func TestInteropSocketsGoToRust(t *testing.T) {
	peerProgram(t)
	for _, c := range socketTrials() {
		t.Run(c.name(true), func(t *testing.T) {
			switch c.item {
			case "u64":
				socketsToRust(t, c, wordAt)
			case "bytes1300":
				socketsToRust(t, c, blockAt[[1300]byte])
			case "bytes4000":
				socketsToRust(t, c, blockAt[[4000]byte])
			}
		})
	}
}

func socketsToRust[T comparable](t *testing.T, c trial, at func(seed, seq uint64) T) {
	tx, err := sharedring.NewSender[T](c.capacity, append(c.options(), sharedring.WithSocketDoorbells())...)
	require.NoError(t, err)
	p := giveSockets(t, c.job(false), tx)
	items := newSeries(seed, at)
	send := sendCopies[T]
	if c.inPlace {
		send = sendInPlace[T]
	}
	p.require(t, send(p.ctx, c, tx, items))
	said, err := p.wait()
	p.require(t, err)
	require.Equal(t, wellDone(items), said)
	requireCount(t, p.probe, 0)
	_, err = tx.SendContext(context.Background(), make([]T, 2*tx.Len()))
	require.ErrorIs(t, err, sharedring.ErrPeerGone)
}

func TestInteropSocketsRustToGo(t *testing.T) {
	peerProgram(t)
	for _, c := range socketTrials() {
		t.Run(c.name(false), func(t *testing.T) {
			switch c.item {
			case "u64":
				rustToSockets(t, c, wordAt)
			case "bytes1300":
				rustToSockets(t, c, blockAt[[1300]byte])
			case "bytes4000":
				rustToSockets(t, c, blockAt[[4000]byte])
			}
		})
	}
}

func rustToSockets[T comparable](t *testing.T, c trial, at func(seed, seq uint64) T) {
	rx, err := sharedring.NewReceiver[T](c.capacity, append(c.options(), sharedring.WithSocketDoorbells())...)
	require.NoError(t, err)
	p := giveSockets(t, c.job(true), rx)
	items := newSeries(seed, at)
	receive := receiveCopies[T]
	if c.inPlace {
		receive = receiveInPlace[T]
	}
	p.require(t, receive(p.ctx, c, rx, items))
	said, err := p.wait()
	p.require(t, err)
	require.Equal(t, wellDone(items), said)
	_, err = rx.ReceiveContext(context.Background(), make([]T, 1))
	require.ErrorIs(t, err, sharedring.ErrPeerGone, "the crate says no farewell")
}
