//go:build linux

package interop_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/sharedring"
)

// requireLayout checks every byte of a ring's memory: the count in its first eight
// bytes, zeros up to byte 64, the items in their slots, zeros behind them.
func requireLayout[T any](t *testing.T, h sharedring.Handle, size int, count uint64, slots ...T) {
	t.Helper()
	var stat unix.Stat_t
	require.NoError(t, unix.Fstat(h.Memory, &stat))
	require.EqualValues(t, size, stat.Size, "bytes of the memory")

	want := make([]byte, 64, size)
	binary.NativeEndian.PutUint64(want, count)
	for i := range slots {
		want = append(want, bytesOf(&slots[i])...)
	}
	got := make([]byte, size)
	n, err := unix.Pread(h.Memory, got, 0)
	require.NoError(t, err)
	require.Equal(t, size, n)
	require.Equal(t, want, got[:len(want)])
	require.True(t, bytes.Equal(make([]byte, size-len(want)), got[len(want):]), "bytes behind the last item are not zero")
}

// requireCount checks the items in the ring, as its memory says.
func requireCount(t *testing.T, h sharedring.Handle, want uint64) {
	t.Helper()
	got, err := countInMemory(h)
	require.NoError(t, err)
	require.Equal(t, want, got, "count in memory")
}

// requireCounters checks how often each doorbell was rung and not yet answered.
func requireCounters(t *testing.T, h sharedring.Handle, empty, full uint64) {
	t.Helper()
	got, err := doorbellCount(h.EmptySignal)
	require.NoError(t, err)
	require.Equal(t, empty, got, "counter of empty-signal")
	got, err = doorbellCount(h.FullSignal)
	require.NoError(t, err)
	require.Equal(t, full, got, "counter of full-signal")
}

func peerEndsWell[T comparable](t *testing.T, p *peer, items *series[T]) {
	t.Helper()
	said, err := p.wait()
	p.require(t, err)
	require.Equal(t, wellDone(items), said)
}

// firstItems is the start of a series, and the series that far.
func firstItems[T comparable](n int, at func(seed, seq uint64) T) ([]T, *series[T]) {
	items := make([]T, n)
	s := newSeries(seed, at)
	s.fill(items)
	return items, s
}

// Go sends five items of a ring that it made, a Rust process takes two of them.
func TestInteropLayoutRingByGo(t *testing.T) {
	peerProgram(t)
	items, _ := firstItems(5, rec24At)
	tx, err := sharedring.NewSender[rec24](400)
	require.NoError(t, err)
	h, err := tx.Handle()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	t.Cleanup(func() { require.NoError(t, tx.Close()) })
	requireLayout[rec24](t, h, 12288, 0)
	requireCounters(t, h, 0, 0)

	for _, batch := range [][]rec24{items[:2], items[2:]} {
		n, err := tx.Send(batch)
		require.NoError(t, err)
		require.Equal(t, len(batch), n)
	}
	requireLayout(t, h, 12288, 5, items...)
	requireCounters(t, h, 1, 0)

	_, two := firstItems(2, rec24At)
	p := startPeer(t, job{item: "rec24", capacity: 400, count: 2, seed: seed, batches: "0", pace: fullSpeed}, inherit(t, h)...)
	p.probe = h
	peerEndsWell(t, p, two)
	requireLayout(t, h, 12288, 3, items...)
	requireCounters(t, h, 1, 0)
}

// A Rust process makes a ring, sends five items in three calls and ends; Go opens
// what is left of it and takes them.
func TestInteropLayoutRingByRust(t *testing.T) {
	items, five := firstItems(5, rec24At)
	p, h := startMaker(t, job{
		sends: true, makesRing: true, item: "rec24", capacity: 400,
		count: 5, seed: seed, batches: "2,1,0", pace: fullSpeed,
	})
	require.Equal(t, 400, h.Capacity)
	peerEndsWell(t, p, five)
	requireLayout(t, p.probe, 12288, 5, items...)
	requireCounters(t, p.probe, 1, 0)

	rx, err := sharedring.OpenReceiver[rec24](h, sharedring.WithHold(0))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, rx.Close()) })
	got := make([]rec24, 9)
	n, err := rx.Receive(got)
	require.NoError(t, err)
	require.Equal(t, items, got[:n])
	requireLayout(t, p.probe, 12288, 0, items...)
	requireCounters(t, p.probe, 1, 0)
}

// A ring of length 3 is filled by Go to the last slot, a Rust process makes room, and
// Go goes on in slot 0.
func TestInteropLayoutFullAndWrapped(t *testing.T) {
	type item = [1300]byte
	items, _ := firstItems(4, blockAt[item])
	peerProgram(t)
	tx, err := sharedring.NewSender[item](1, sharedring.WithHold(0))
	require.NoError(t, err)
	h, err := tx.Handle()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	t.Cleanup(func() { require.NoError(t, tx.Close()) })
	n, err := tx.Send(items)
	require.NoError(t, err)
	require.Equal(t, 3, n, "items that fit")
	requireLayout(t, h, 4096, 3, items[:3]...)
	requireCounters(t, h, 1, 0)

	_, two := firstItems(2, blockAt[item])
	p := startPeer(t, job{item: "bytes1300", capacity: 1, count: 2, seed: seed, batches: "1", pace: fullSpeed}, inherit(t, h)...)
	p.probe = h
	peerEndsWell(t, p, two)
	requireLayout(t, h, 4096, 1, items[:3]...)
	requireCounters(t, h, 1, 1) // rung once, by the call that found the ring full

	n, err = tx.Send(items[3:])
	require.NoError(t, err)
	require.Equal(t, 1, n)
	requireLayout(t, h, 4096, 2, items[3], items[1], items[2])
}
