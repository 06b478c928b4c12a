package epoll

import (
	"math"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestDatumIsThatOfC(t *testing.T) {
	for _, tag := range []uint64{DirectTag, NestedTag} {
		for _, token := range []uint64{0, 1, 1 << 24, 1<<tokenBits - 1} {
			var ev Event
			d := newDatum(tag, token)
			d.put(&ev)
			require.Equal(t, d, datumOf(&ev))
			require.Equal(t, tag, d.tag())
			require.Equal(t, token, d.token())
			// Where C has the union of 64 bits.
			require.Equal(t, uint64(d), *(*uint64)(unsafe.Pointer(&ev.Fd)))
		}
	}
}

// What hosts put into the datum is none of ours.
func TestDatumOfHosts(t *testing.T) {
	var here int
	elsewhere := new([1 << 20]byte)
	words := []uint64{
		0, 3, math.MaxInt32, 1 << 32, // descriptors, slots, generations
		math.MaxUint64, 1 << 63, math.MaxInt64, uint64(math.MaxUint64 - 13), // -1, -14
		uint64(uintptr(unsafe.Pointer(&here))), uint64(uintptr(unsafe.Pointer(elsewhere))),
		1<<47 - 1, 1<<56 - 1, // the highest addresses of x86-64, with four and five levels
		1<<52 - 1, 0xFF<<56 | 1<<52 - 1, // of arm64, plain and with a mark in the top byte
	}
	for _, w := range words {
		require.NotContains(t, []uint64{DirectTag, NestedTag}, datum(w).tag(), "%#x", w)
	}
	for _, fd := range []int32{-1, 0, 5, math.MaxInt32} {
		for _, pad := range []int32{-1, 0, 1, 1 << 20, math.MaxInt32} {
			ev := Event{Fd: fd, Pad: pad}
			require.NotContains(t, []uint64{DirectTag, NestedTag}, datumOf(&ev).tag(), "%v", ev)
		}
	}
}
