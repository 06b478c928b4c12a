package ringbuf

import (
	"fmt"
	"math"
	"reflect"
	"sync/atomic"
	"unsafe"
)

// HeaderSize is the number of bytes before the first item: the count in bytes 0
// to 7, then zeros up to a cache line of its own.
const HeaderSize = 64

// Bytes returns the bytes that a ring of capacity items of itemSize bytes needs,
// header included and not rounded to pages. The error wraps [ErrRange].
func Bytes(capacity, itemSize int) (int, error) {
	if capacity <= 0 || itemSize <= 0 {
		return 0, fmt.Errorf("ringbuf: capacity of %d items of %d bytes: %w", capacity, itemSize, ErrRange)
	}
	if capacity > (math.MaxInt-HeaderSize)/itemSize {
		return 0, fmt.Errorf("ringbuf: capacity of %d items of %d bytes overflows: %w", capacity, itemSize, ErrRange)
	}
	return HeaderSize + capacity*itemSize, nil
}

// ring is what both ends make of the memory.
type ring[T any] struct {
	count  *atomic.Uint64 // shared; never trusted
	items  []T            // shared; its length is private
	length int
	err    error // set once, when the ring is poisoned
}

// attach lays the ring over mem. It is the one place where bytes become items.
func attach[T any](mem []byte) (ring[T], error) {
	var zero T
	if err := CheckType[T](); err != nil {
		return ring[T]{}, err
	}
	size := int(unsafe.Sizeof(zero))
	if len(mem) < HeaderSize+size {
		return ring[T]{}, fmt.Errorf("ringbuf: %d bytes for a header of %d and an item of %d: %w",
			len(mem), HeaderSize, size, ErrTooSmall)
	}
	base := unsafe.Pointer(unsafe.SliceData(mem))
	if align := max(unsafe.Alignof(zero), unsafe.Alignof(uint64(0))); uintptr(base)%align != 0 {
		return ring[T]{}, fmt.Errorf("ringbuf: memory for items of type %s is not aligned to %d bytes: %w",
			reflect.TypeFor[T](), align, ErrRange)
	}
	length := (len(mem) - HeaderSize) / size
	return ring[T]{
		count:  (*atomic.Uint64)(base),
		items:  unsafe.Slice((*T)(unsafe.Add(base, HeaderSize)), length),
		length: length,
	}, nil
}

// Len returns the number of items that the ring can hold. It can be larger than
// the capacity asked for, since memory comes in pages.
func (r *ring[T]) Len() int { return r.length }

// poison ends the ring: from here on no call touches the shared memory. c is a
// count that cannot be, since it has to lie between low and high.
func (r *ring[T]) poison(c uint64, low, high int) error {
	r.err = fmt.Errorf("ringbuf: count is %d, expected %d to %d of %d items: %w", c, low, high, r.length, ErrCorrupt)
	return r.err
}
