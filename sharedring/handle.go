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
// The doorbells are two eventfds, the same ones for both sides, or two unix sockets,
// of which each side has its own ends (see [WithSocketDoorbells]): then a Handle is
// one for the sender or one for the receiver, and not both. Nobody else should keep
// such a Handle or a Dup of it: while a copy is open, the other side does not see that
// this side died.
//
// The capacity of a foreign Handle decides how much memory is mapped and, by
// default, allocated: check it before opening one that anybody could have made.
type Handle struct {
	Capacity    int // items asked for; the ring can be longer
	ItemSize    int // bytes of an item; 0: unknown, and not checked against the type
	Memory      int // memfd with the count and the items
	EmptySignal int // doorbell: rung by the sender when the ring was empty
	FullSignal  int // doorbell: rung by the receiver when the ring was full
}

// noHandle has no descriptors either, but none that Close would take for standard
// input.
var noHandle = Handle{Memory: -1, EmptySignal: -1, FullSignal: -1}

// Create makes a ring without opening an end of it: capacity items of itemSize
// bytes in sealed memory, and two doorbells. Give one [Handle.Dup] to each side.
// The errors wrap [ringbuf.ErrRange] or the failed system call. With
// [WithSocketDoorbells], where one Handle cannot serve both sides, the error matches
// [errors.ErrUnsupported]: use [CreatePair].
func Create(capacity, itemSize int, opts ...Option) (Handle, error) {
	c := newConfig(opts)
	if c.sockets {
		return Handle{}, fmt.Errorf("sharedring: create with socket doorbells, of which each side needs its own (use CreatePair): %w", errors.ErrUnsupported)
	}
	h, _, err := create(capacity, itemSize, c)
	return h, err
}

// CreatePair is Create for either kind of doorbell: it returns one Handle for each
// side, with descriptors of their own. What is sent to another process has to be
// closed here afterwards, or that process's death is not seen on socket doorbells.
func CreatePair(capacity, itemSize int, opts ...Option) (sender, receiver Handle, err error) {
	c := newConfig(opts)
	sender, receiver, err = create(capacity, itemSize, c)
	if err != nil {
		return Handle{}, Handle{}, err
	}
	if c.sockets {
		receiver.Memory, err = dupDescriptor(sender.Memory)
	} else {
		receiver, err = sender.Dup()
	}
	if err != nil {
		return Handle{}, Handle{}, errors.Join(err, closeAll(sender, receiver))
	}
	return sender, receiver, nil
}

// create makes a ring as each side sees it. The descriptor of the memory is one for
// both, and so are eventfds.
func create(capacity, itemSize int, c config) (sender, receiver Handle, err error) {
	size, err := mappedBytes(capacity, itemSize)
	if err != nil {
		return Handle{}, Handle{}, err
	}
	mem, err := memfd.Create("shmloop-ring", int64(size), c.memory...)
	if err != nil {
		return Handle{}, Handle{}, fmt.Errorf("sharedring: create a ring of %d items: %w", capacity, err)
	}
	sender = Handle{Capacity: capacity, ItemSize: itemSize, Memory: mem.FD(), EmptySignal: -1, FullSignal: -1}
	receiver = sender
	makeDoorbell := eventfdTwice
	if c.sockets {
		makeDoorbell = socketPair
	}
	if sender.EmptySignal, receiver.EmptySignal, err = makeDoorbell(); err == nil {
		receiver.FullSignal, sender.FullSignal, err = makeDoorbell()
	}
	if err != nil {
		return Handle{}, Handle{}, errors.Join(err, closeAll(sender, receiver))
	}
	return sender, receiver, nil
}

// eventfdTwice returns one eventfd, which both sides use.
func eventfdTwice() (rings, waits int, err error) {
	fd, err := eventfd()
	return fd, fd, err
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
// ring, and with socket doorbells for the same side of it.
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

// Close closes the three descriptors, sockets perhaps a little later (see
// [memfd.Discard]). It must be called once, and not after the Handle was given to an
// Open function, which owns them from then on.
func (h Handle) Close() error {
	return closeAll(h)
}

func closeAll(handles ...Handle) error {
	var fds []int
	for _, h := range handles {
		if h != (Handle{}) { // which is not standard input, three times
			fds = append(fds, h.fds()...)
		}
	}
	slices.Sort(fds)
	var errs []error
	for _, fd := range slices.Compact(fds) { // the same number twice is closed once
		switch {
		case fd < 0:
		case closesAtOnce(fd):
			errs = append(errs, closeDescriptor(fd))
		default:
			memfd.Discard(fd)
		}
	}
	return errors.Join(errs...)
}

func (h Handle) fds() []int { return []int{h.Memory, h.EmptySignal, h.FullSignal} }

// opened is a ring that was verified and mapped.
type opened struct {
	file    *memfd.File
	mapping *memfd.Mapping
	kind    doorbellKind
}

// open verifies h's descriptors, in an order in which no hostile one can block,
// and maps the memory. On success the memory file is the caller's and the doorbells
// stay open; on failure all three are closed. waits is the doorbell to wait on.
func (h Handle) open(itemSize, waits int, c config) (o opened, err error) {
	if h == (Handle{}) {
		return o, fmt.Errorf("sharedring: open a ring: empty handle: %w", ringbuf.ErrRange)
	}
	doorbells := []int{h.EmptySignal, h.FullSignal}
	defer func() {
		if err != nil && o.file != nil {
			err = errors.Join(err, o.file.Close())
		}
		if err != nil {
			err = fmt.Errorf("sharedring: open a ring of %d items of %d bytes: %w", h.Capacity, itemSize, err)
			memfd.Discard(doorbells...)
		}
	}()
	// memfd.Open owns the memory's number, also where a doorbell has the same.
	doorbells = slices.DeleteFunc(doorbells, func(fd int) bool { return fd == h.Memory })
	if o.file, err = memfd.Open(h.Memory); err != nil {
		return o, err
	}
	o.kind, err = h.checkDoorbells(waits, c)
	if err = errors.Join(err, h.checkItem(itemSize), c.checkPages(o.file)); err != nil {
		return o, err
	}
	size, err := mappedBytes(h.Capacity, itemSize)
	if err != nil {
		return o, err
	}
	o.mapping, err = mapPrepared(o.file, size, c)
	return o, err
}

func (h Handle) checkDoorbells(waits int, c config) (doorbellKind, error) {
	if h.EmptySignal == h.FullSignal {
		return 0, fmt.Errorf("descriptor %d given as both doorbells: %w", h.EmptySignal, ErrDoorbell)
	}
	socket, err := checkDoorbell(h.EmptySignal)
	other, otherErr := checkDoorbell(h.FullSignal)
	switch err = errors.Join(err, otherErr); {
	case err != nil:
		return 0, err
	case socket != other:
		return 0, fmt.Errorf("doorbells %d and %d are an eventfd and a socket: %w", h.EmptySignal, h.FullSignal, ErrDoorbell)
	case socket && c.trusted:
		return socketDoorbell, nil
	case socket:
		return socketDoorbell, checkMaker(waits)
	case c.trusted:
		return trustedEventfd, nil
	default:
		return guardedEventfd, nil
	}
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
