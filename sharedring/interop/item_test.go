//go:build linux

package interop_test

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// The items are a function of seed and sequence number, the same as in
// peer/src/item.rs: each end can make every item without having seen it.

const golden = 0x9e3779b97f4a7c15

// mix is the output function of splitmix64, a bijection of seed+seq.
func mix(seed, seq uint64) uint64 {
	z := (seed + seq) * golden
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func byteAt(seed, seq uint64) byte { return byte(mix(seed, seq) >> 56) }

func wordAt(seed, seq uint64) uint64 { return mix(seed, seq) }

// rec24 has 24 bytes and no padding, and a float beside integers.
type rec24 struct {
	Seq, Sum uint64
	Value    float64
}

func rec24At(seed, seq uint64) rec24 {
	return rec24{Seq: seq, Sum: mix(seed, seq), Value: float64(seq) + 0.25}
}

// blockAt makes the large items, T an array of bytes.
func blockAt[T any](seed, seq uint64) T {
	var item T
	word := mix(seed, seq)
	for b := bytesOf(&item); len(b) > 0; word += golden {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], word)
		b = b[copy(b, w[:]):]
	}
	return item
}

// bytesOf is the memory of an item.
func bytesOf[T any](item *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(item)), unsafe.Sizeof(*item))
}

// series makes items in their order, or checks them, and keeps the FNV-1a checksum
// of all their bytes.
type series[T comparable] struct {
	at        func(seed, seq uint64) T
	seed, seq uint64
	sum       uint64
}

func newSeries[T comparable](seed uint64, at func(seed, seq uint64) T) *series[T] {
	return &series[T]{at: at, seed: seed, sum: 0xcbf29ce484222325}
}

// add is not instrumented for the race detector, which would take most of the test's
// time at the single bytes. It reads only copies that no other goroutine has.
//
//go:norace
func (s *series[T]) add(item *T) {
	sum := s.sum
	for _, b := range bytesOf(item) {
		sum = (sum ^ uint64(b)) * 0x100000001b3
	}
	s.sum = sum
	s.seq++
}

// fill makes the next len(dst) items.
func (s *series[T]) fill(dst []T) {
	for i := range dst {
		item := s.at(s.seed, s.seq)
		s.add(&item)
		dst[i] = item
	}
}

// check compares src with the next len(src) items.
func (s *series[T]) check(src []T) error {
	for i := range src {
		got := src[i]
		if want := s.at(s.seed, s.seq); got != want {
			return fmt.Errorf("item %d begins with %s, want %s", s.seq, head(got), head(want))
		}
		s.add(&got)
	}
	return nil
}

// head takes a copy, so that the good items do not go to the heap for its sake.
func head[T any](item T) string {
	b := bytesOf(&item)
	return fmt.Sprintf("% x", b[:min(len(b), 24)])
}
