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
	handle   Handle // what Handle gives, as numbers; noHandle if there is nothing to give
	taken    bool   // it was given; see giveHandle
	receives bool
	locked   bool
	file     *memfd.File
	mapping  *memfd.Mapping
	waits    doorbell // rung by the peer
	rings    doorbell // rung by this end
	rung     atomic.Uint64
	heard    bells // with socket doorbells
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
	o, err := h.open(itemSize, waits, c)
	if err != nil {
		return err
	}
	e.handle, e.file, e.mapping, e.locked = noHandle, o.file, o.mapping, c.lock
	e.receives = waits == h.EmptySignal
	e.waits.fd, e.rings.fd = waits, rings
	e.waits.kind, e.rings.kind = o.kind, o.kind
	e.spinner.init()
	err = setNonblock(waits)
	if err == nil && o.kind == guardedEventfd {
		err = openSignals()
	}
	if err != nil {
		return errors.Join(err, e.abandon())
	}
	return nil
}

// dropFile closes the memory's descriptor: the mapping does not need it, and with
// thousands of rings descriptors are scarce.
func (e *end) dropFile() error { return e.file.Close() }

// Handle returns the ring's descriptors to hand to the other side. They belong to the
// caller. Only the end that made the ring can be asked; one that was opened has let go
// of the memory's descriptor.
//
// Eventfds are duplicated, so Handle can be called again. With socket doorbells it
// gives the peer's ends away, since this process must not keep a copy: the peer's
// death would not be seen. So after sending them to another process, close the Handle.
// A second call returns [ErrHandleTaken].
func (e *end) Handle() (Handle, error) {
	e.closing.Lock()
	defer e.closing.Unlock()
	switch {
	case e.status.Load()&statusClosed != 0:
		return Handle{}, fmt.Errorf("sharedring: handle: %w", ErrClosed)
	case e.taken:
		return Handle{}, fmt.Errorf("sharedring: handle of a ring with socket doorbells: %w", ErrHandleTaken)
	case e.handle == noHandle:
		return Handle{}, fmt.Errorf("sharedring: handle of a ring that was opened, not made, here: %w", errors.ErrUnsupported)
	case e.waits.kind == socketDoorbell:
		return e.giveHandle()
	}
	return e.handle.Dup()
}

// giveHandle gives the peer's ends away, and with them the last use of the memory's
// descriptor. Needs e.closing.
func (e *end) giveHandle() (Handle, error) {
	h := e.handle
	var err error
	if h.Memory, err = dupDescriptor(h.Memory); err != nil {
		return Handle{}, err
	}
	e.handle, e.taken = noHandle, true
	if err := e.dropFile(); err != nil {
		return Handle{}, errors.Join(err, h.Close())
	}
	return h, nil
}

// dropHandle closes the peer's ends that nobody asked for. Needs e.closing.
func (e *end) dropHandle() error {
	h := e.handle
	if e.waits.kind != socketDoorbell || h == noHandle {
		return nil // eventfds are this end's too
	}
	e.handle = noHandle
	return errors.Join(closeDescriptor(h.EmptySignal), closeDescriptor(h.FullSignal))
}

// FD returns the doorbell to wait on for this end, for use in an event loop. It is
// borrowed: do not close or read it, register it edge-triggered (EPOLLET), call
// Arm before each wait, and remove it from the epoll before Close. (A socket may be
// read by a loop that knows no other way; see Heard.)
func (e *end) FD() int { return e.waits.fd }

// Signal rings the peer's doorbell. The calls of this package do so by themselves;
// it is for users of Raw, whose calls say when a signal is due. Any goroutine may
// call it.
func (e *end) Signal() error {
	e.rung.Add(1)
	if err := e.rings.ring(); err != nil {
		return e.unheard(err)
	}
	return nil
}

// Doorbells returns how often this end has rung its peer's doorbell. Any goroutine
// may call it.
func (e *end) Doorbells() uint64 { return e.rung.Load() }

// HangUp tells this end that the peer is gone. It is for whoever watches the peer's
// lifeline, from any goroutine; the first call counts. A nil reason is a clean end.
// Blocked calls wake up, and FD sees an edge. A receiver returns what is left in the
// ring, then [io.EOF] after a clean end and [ErrPeerGone] otherwise. A sender
// returns [ErrPeerGone] at once. The end still has to be closed.
//
// With socket doorbells the end also finds out by itself, in Arm, and whoever is first
// counts. A farewell that is on the doorbell by the time of the call comes before a
// reason: a peer that closes its end of the ring, and its lifeline after that, has
// ended well even if it dies in between. From HangUp on the peer finds its doorbell
// closed.
func (e *end) HangUp(reason error) {
	if reason != nil && e.waits.kind == socketDoorbell {
		e.listen()
	}
	e.peerEnded(reason)
}

// peerEnded takes the first word on the peer's end, and no other.
func (e *end) peerEnded(reason error) {
	e.hangUp.Do(func() {
		e.reason = reason
		e.status.Or(statusGone)
		_ = e.waits.wake() // an error means that this end is closed: nobody waits
	})
}

// Close closes this end's descriptors and takes the shared pages out of the
// process. With socket doorbells it says farewell to the peer first, otherwise it tells
// the peer nothing. A receiver, which needs the items no more, also gives the memory
// back to the system, so that a peer that holds on to it holds nothing; a sender does
// when the peer is known to be gone.
//
// Close may be called from any goroutine, more than once, and beside a call in
// progress: blocked calls return [ErrClosed], and a slice from Peek or Reserve that
// is still in use shows zeros from here on, until the end itself is unreachable.
func (e *end) Close() error { return e.close(e.rings.farewell) }

// abandon closes an end that nobody has used, so it says no farewell.
func (e *end) abandon() error { return e.close(func() {}) }

func (e *end) close(farewell func()) error {
	if e.status.Or(statusClosed)&statusClosed != 0 {
		return nil
	}
	e.closing.Lock()
	defer e.closing.Unlock()
	farewell()
	// The rung doorbell first: a peer that cannot ring us any more finds our farewell.
	return errors.Join(e.freeMemory(), e.sleeper.close(), e.rings.close(), e.waits.close(), e.dropHandle(), e.mapping.Close(), e.file.Close())
}

// freeMemory keeps a peer that hoards memfds from hoarding our memory. Locked pages
// cannot be freed; whoever locked them counts on keeping them.
func (e *end) freeMemory() error {
	if gone := e.status.Load()&statusGone != 0; !e.receives && (!gone || errors.Is(e.reason, errUnheard)) {
		return nil // items that the peer has yet to take; also one that listens no more may
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
