//go:build linux

package interop_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/sharedring"
)

// The Rust crate sleeps in a read of its doorbell. O_NONBLOCK belongs to the open file
// that both processes share, so setting it here would turn that read into an error.
func requireBlocking(t *testing.T, doorbell int, when string) {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(doorbell), unix.F_GETFL, 0)
	require.NoError(t, err)
	require.Zero(t, flags&unix.O_NONBLOCK, "O_NONBLOCK on the doorbell that the peer reads, %s", when)
}

func TestInteropPeerDoorbellStaysBlocking(t *testing.T) {
	peerProgram(t)
	for _, c := range []trial{{peerMakesRing: false}, {peerMakesRing: true}} {
		// Length 1: both sides sleep at nearly every item.
		c.shape = shape{"bytes4000", 1, 1, 100}
		name := "ring by " + map[bool]string{false: "go", true: "rust"}[c.peerMakesRing]
		t.Run("sender/"+name, func(t *testing.T) {
			tx, p := connectSender[[4000]byte](t, c.job(false))
			requireBlocking(t, p.probe.EmptySignal, "after open")
			items := newSeries(seed, blockAt[[4000]byte])
			p.require(t, sendCopies(p.ctx, c, tx, items))
			requireBlocking(t, p.probe.EmptySignal, "after sleeping")
			peerEndsWell(t, p, items)
			require.NoError(t, tx.Close())
			requireBlocking(t, p.probe.EmptySignal, "after close")
		})
		t.Run("receiver/"+name, func(t *testing.T) {
			rx, p := connectReceiver[[4000]byte](t, c.job(true))
			requireBlocking(t, p.probe.FullSignal, "after open")
			items := newSeries(seed, blockAt[[4000]byte])
			p.require(t, receiveCopies(p.ctx, c, rx, items))
			requireBlocking(t, p.probe.FullSignal, "after sleeping")
			peerEndsWell(t, p, items)
			require.NoError(t, rx.Close())
			requireBlocking(t, p.probe.FullSignal, "after close")
		})
	}
}

// A ring made for two other processes, with no end here, has two blocking doorbells.
func TestInteropCreatedDoorbellsBlock(t *testing.T) {
	h, err := sharedring.Create(1, 8)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	requireBlocking(t, h.EmptySignal, "as created")
	requireBlocking(t, h.FullSignal, "as created")
}
