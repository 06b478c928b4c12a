package sharedring

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

// pageSize is the wire's unit of memory, also for huge pages and on machines with
// larger pages: both sides derive the ring's length from it.
const pageSize = 4096

// Handle is what travels between processes to share a ring: the capacity in items
// and three descriptors. The other side needs the item type too. The descriptors
// belong to the Handle until it is closed or given to an Open function. The zero
// Handle has none.
//
// The capacity of a foreign Handle decides how much memory is mapped and, by
// default, allocated: check it before opening one that anybody could have made.
type Handle struct {
	Capacity    int // items asked for; the ring can be longer
	ItemSize    int // bytes of an item; 0: unknown, and not checked against the type
	Memory      int // memfd with the count and the items
	EmptySignal int // eventfd: rung by the sender when the ring was empty
	FullSignal  int // eventfd: rung by the receiver when the ring was full
}

// Create makes a ring without opening an end of it: capacity items of itemSize
// bytes in sealed memory, and two doorbells. Give one [Handle.Dup] to each side.
// The errors wrap [ringbuf.ErrRange] or the failed system call.
func Create(capacity, itemSize int, opts ...Option) (Handle, error) {
	return create(capacity, itemSize, newConfig(opts))
}

func create(capacity, itemSize int, c config) (h Handle, err error) {
	size, err := mappedBytes(capacity, itemSize)
	if err != nil {
		return Handle{}, err
	}
	mem, err := memfd.Create("shmloop-ring", int64(size), c.memory...)
	if err != nil {
		return Handle{}, fmt.Errorf("sharedring: create a ring of %d items: %w", capacity, err)
	}
	h = Handle{Capacity: capacity, ItemSize: itemSize, Memory: mem.FD(), EmptySignal: -1, FullSignal: -1}
	if h.EmptySignal, err = eventfd(); err == nil {
		h.FullSignal, err = eventfd()
	}
	if err != nil {
		return Handle{}, errors.Join(err, h.Close())
	}
	return h, nil
}

// mappedBytes is the size of the mapping that both sides derive from a capacity.
func mappedBytes(capacity, itemSize int) (int, error) {
	n, err := ringbuf.Bytes(capacity, itemSize)
	if err != nil {
		return 0, err
	}
	rounded := (n + pageSize - 1) &^ (pageSize - 1)
	if rounded <= 0 {
		return 0, fmt.Errorf("sharedring: capacity of %d items of %d bytes overflows: %w", capacity, itemSize, ringbuf.ErrRange)
	}
	return rounded, nil
}

// Dup returns a Handle with descriptors of its own (close-on-exec) for the same
// ring.
func (h Handle) Dup() (Handle, error) {
	d := Handle{Capacity: h.Capacity, ItemSize: h.ItemSize, Memory: -1, EmptySignal: -1, FullSignal: -1}
	from, to := h.fds(), []*int{&d.Memory, &d.EmptySignal, &d.FullSignal}
	for i, fd := range from {
		dup, err := dupDescriptor(fd)
		if err != nil {
			return Handle{}, errors.Join(err, d.Close())
		}
		*to[i] = dup
	}
	return d, nil
}

// Close closes the three descriptors. It must be called once, and not after the
// Handle was given to an Open function, which owns them from then on.
func (h Handle) Close() error {
	if h == (Handle{}) {
		return nil // not standard input, three times
	}
	fds := h.fds()
	slices.Sort(fds)
	var errs []error
	for _, fd := range slices.Compact(fds) { // the same number twice is closed once
		if fd >= 0 {
			errs = append(errs, closeDescriptor(fd))
		}
	}
	return errors.Join(errs...)
}

func (h Handle) fds() []int { return []int{h.Memory, h.EmptySignal, h.FullSignal} }

// open verifies h's descriptors, in an order in which no hostile one can block,
// and maps the memory. On success the memory file is the caller's and the doorbells
// stay open; on failure all three are closed.
func (h Handle) open(itemSize int, c config) (file *memfd.File, mapping *memfd.Mapping, err error) {
	if h == (Handle{}) {
		return nil, nil, fmt.Errorf("sharedring: open a ring: empty handle: %w", ringbuf.ErrRange)
	}
	doorbells := []int{h.EmptySignal, h.FullSignal}
	defer func() {
		if err != nil && file != nil {
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			err = fmt.Errorf("sharedring: open a ring of %d items of %d bytes: %w", h.Capacity, itemSize, err)
			memfd.Discard(doorbells...)
		}
	}()
	// memfd.Open owns the memory's number, also where a doorbell has the same.
	doorbells = slices.DeleteFunc(doorbells, func(fd int) bool { return fd == h.Memory })
	if file, err = memfd.Open(h.Memory); err != nil {
		return nil, nil, err
	}
	if err = errors.Join(h.checkDoorbells(), h.checkItem(itemSize), c.checkPages(file)); err != nil {
		return file, nil, err
	}
	size, err := mappedBytes(h.Capacity, itemSize)
	if err != nil {
		return file, nil, err
	}
	mapping, err = mapPrepared(file, size, c)
	return file, mapping, err
}

func (h Handle) checkDoorbells() error {
	if h.EmptySignal == h.FullSignal {
		return fmt.Errorf("descriptor %d given as both doorbells: %w", h.EmptySignal, ErrDoorbell)
	}
	return errors.Join(checkDoorbell(h.EmptySignal), checkDoorbell(h.FullSignal))
}

func (h Handle) checkItem(itemSize int) error {
	if h.ItemSize != 0 && h.ItemSize != itemSize {
		return fmt.Errorf("the other side's items have %d bytes: %w", h.ItemSize, ringbuf.ErrItemType)
	}
	return nil
}

// checkPages refuses huge pages that nobody asked for: a peer that punches a hole
// into them can leave the pool empty, and the next touch would be fatal.
func (c config) checkPages(file *memfd.File) error {
	if len(c.memory) == 0 && file.PageSize() > int64(os.Getpagesize()) {
		return fmt.Errorf("memory has pages of %d bytes, which WithHugePages would accept: %w", file.PageSize(), errors.ErrUnsupported)
	}
	return nil
}

func mapPrepared(file *memfd.File, size int, c config) (*memfd.Mapping, error) {
	mapping, err := file.Map(size)
	if err != nil {
		return nil, err
	}
	if !c.noPrefault {
		err = mapping.Prefault()
	}
	if err == nil && c.lock {
		err = mapping.Lock()
	}
	if err != nil {
		return nil, errors.Join(err, mapping.Close())
	}
	return mapping, nil
}
