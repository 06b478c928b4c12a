package sharedring

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/shmloop/shmloop/memfd"
)

// end is what a Sender and a Receiver share: memory, doorbells, and how the ring
// ended.
type end struct {
	handle   Handle // numbers only; the owners are below
	receives bool
	locked   bool
	file     *memfd.File
	mapping  *memfd.Mapping
	waits    doorbell // rung by the peer
	rings    doorbell // rung by this end
	rung     atomic.Uint64
	status   atomic.Uint32
	reason   error // why the peer is gone; written before the status says so
	hangUp   sync.Once
	closing  sync.Mutex // keeps descriptors open while they are duplicated
	sleeper  sleeper
	spinner  spinner
}

// Bits of end.status.
const (
	statusClosed = 1 << iota
	statusGone
)

// init opens h's ring. waits and rings are two of h's doorbells.
func (e *end) init(h Handle, itemSize, waits, rings int, c config) error {
	file, mapping, err := h.open(itemSize, c)
	if err != nil {
		return err
	}
	h.ItemSize = itemSize
	e.handle, e.file, e.mapping, e.locked = h, file, mapping, c.lock
	e.receives = waits == h.EmptySignal
	e.waits.fd, e.rings.fd = waits, rings
	e.waits.trusted, e.rings.trusted = c.trusted, c.trusted
	e.spinner.init()
	err = setNonblock(waits)
	if err == nil && !c.trusted {
		err = openSignals()
	}
	if err != nil {
		return errors.Join(err, e.Close())
	}
	return nil
}

// dropFile closes the memory's descriptor: the mapping does not need it, and with
// thousands of rings descriptors are scarce.
func (e *end) dropFile() error {
	err := e.file.Close()
	e.handle.Memory = -1
	return err
}

// Handle returns duplicates of the ring's descriptors to hand to the other side.
// They belong to the caller. Only the end that made the ring can be asked; one
// that was opened has let go of the memory's descriptor.
func (e *end) Handle() (Handle, error) {
	e.closing.Lock()
	defer e.closing.Unlock()
	if e.status.Load()&statusClosed != 0 {
		return Handle{}, fmt.Errorf("sharedring: handle: %w", ErrClosed)
	}
	if e.handle.Memory < 0 {
		return Handle{}, fmt.Errorf("sharedring: handle of a ring that was opened, not made, here: %w", errors.ErrUnsupported)
	}
	return e.handle.Dup()
}

// FD returns the doorbell to wait on for this end, for use in an event loop. It is
// borrowed: do not close or read it, register it edge-triggered (EPOLLET), call
// Arm before each wait, and remove it from the epoll before Close.
func (e *end) FD() int { return e.waits.fd }

// Signal rings the peer's doorbell. The calls of this package do so by themselves;
// it is for users of Raw, whose calls say when a signal is due. Any goroutine may
// call it.
func (e *end) Signal() error {
	e.rung.Add(1)
	return e.rings.ring()
}

// Doorbells returns how often this end has rung its peer's doorbell. Any goroutine
// may call it.
func (e *end) Doorbells() uint64 { return e.rung.Load() }

// HangUp tells this end that the peer is gone. It is for whoever watches the peer's
// lifeline, from any goroutine; the first call counts. A nil reason is a clean end.
// Blocked calls wake up, and FD sees an edge. A receiver returns what is left in the
// ring, then [io.EOF] after a clean end and [ErrPeerGone] otherwise. A sender
// returns [ErrPeerGone] at once. The end still has to be closed.
func (e *end) HangUp(reason error) {
	e.hangUp.Do(func() {
		e.reason = reason
		e.status.Or(statusGone)
		_ = e.waits.ring() // an error means that this end is closed: nobody waits
	})
}

// Close closes this end's descriptors and takes the shared pages out of the
// process; it tells the peer nothing. A receiver, which needs the items no more,
// also gives the memory back to the system, so that a peer that holds on to it holds
// nothing; a sender does when the peer is known to be gone.
//
// Close may be called from any goroutine, more than once, and beside a call in
// progress: blocked calls return [ErrClosed], and a slice from Peek or Reserve that
// is still in use shows zeros from here on, until the end itself is unreachable.
func (e *end) Close() error {
	if e.status.Or(statusClosed)&statusClosed != 0 {
		return nil
	}
	e.closing.Lock()
	defer e.closing.Unlock()
	return errors.Join(e.freeMemory(), e.sleeper.close(), e.waits.close(), e.rings.close(), e.mapping.Close(), e.file.Close())
}

// freeMemory keeps a peer that hoards memfds from hoarding our memory. Locked pages
// cannot be freed; whoever locked them counts on keeping them.
func (e *end) freeMemory() error {
	if !e.receives && e.status.Load()&statusGone == 0 {
		return nil // items that the peer has yet to take
	}
	if err := e.mapping.Free(); err != nil && !e.locked {
		return err
	}
	return nil
}

// wrap names the call in err, and says ErrClosed instead where that is the cause:
// after Close the memory reads as zeros, which looks like a corrupt ring.
func (e *end) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	if e.status.Load()&statusClosed != 0 {
		err = ErrClosed
	}
	return fmt.Errorf("sharedring: %s: %w", op, err)
}

// goneError is the error of a call after HangUp, nil before.
func (e *end) goneError(op string, clean error) error {
	if e.status.Load()&statusGone == 0 {
		return nil
	}
	switch {
	case e.reason != nil:
		return fmt.Errorf("sharedring: %s: %w: %w", op, ErrPeerGone, e.reason)
	case clean == io.EOF:
		return io.EOF // plain, as readers expect it
	default:
		return fmt.Errorf("sharedring: %s: %w", op, clean)
	}
}

// notify rings the peer if a call of the ring said so. The bell comes after the
// shared write and is not dropped for an error of the call: nobody repeats it.
func (e *end) notify(signal bool, op string, err error) error {
	if signal {
		if bellErr := e.Signal(); err == nil && bellErr != nil {
			err = bellErr
		}
	}
	return e.wrap(op, err)
}
