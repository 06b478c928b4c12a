package sharedring

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// A socket doorbell is one end of a connected unix stream socket; the peer has the
// other. To ring is to send 8 bytes, as with an eventfd. Here the kernel keeps them:
// every send is an edge for who waits, read or not, until the buffer is full. Then
// sends fail, and are no edges any more. So the side that waits has to take the bytes
// off, before it looks at the ring (see listen).
//
// An end that is closed says farewell with a single byte. So the number of bytes that
// came in all tells a clean end, 1 more than a multiple of 8, from a crash.
const (
	bellSize     = 8
	farewellByte = 0x04
)

// What one call takes off a doorbell is bounded, so that a peer that rings without end
// does not hold up the loop: 4 KiB, about twice the bells that a buffer of the default
// size has room for.
const (
	drainBuffer = 512
	drainRounds = 8
)

var (
	errNoFarewell = errors.New("doorbell closed without a farewell")
	errRights     = fmt.Errorf("descriptors came with a bell: %w", ErrDoorbell)

	// errUnheard is what sendBell wraps if there is nobody left to hear it.
	errUnheard = errors.New("nobody waits on the doorbell")
)

// bells is what came from a socket doorbell so far.
type bells struct {
	mu    sync.Mutex // Arm is for one goroutine, but Signal and HangUp listen too
	bytes int        // modulo bellSize
}

// listen takes the bells off the doorbell that this end waits on, and finds out whether
// the peer ended. It is true if there may be more bells than it took.
//
// Before a sleep it has to be called before the last look at the ring, not after it.
// The peer changes the ring first and rings then. If it found the buffer full, then what
// made it full is taken off after that, and a look that follows sees the change. The
// other way round a look could come before the change, the bell be lost in the full
// buffer, and the draining leave nothing that would ever wake us.
func (e *end) listen() (more bool) {
	if e.over() {
		return false // told already; and what broke the rules is not looked at again
	}
	more, over, reason := e.hear()
	if over {
		e.peerEnded(reason)
	}
	return more
}

func (e *end) hear() (more, over bool, reason error) {
	e.heard.mu.Lock()
	defer e.heard.mu.Unlock()
	if !e.waits.enter() {
		return false, false, nil
	}
	n, more, err := drainSocket(e.waits.fd, drainRounds)
	_ = e.waits.leave()
	e.heard.add(n)
	switch {
	case more:
		return true, false, nil
	case e.heard.farewell():
		return false, true, nil
	case errors.Is(err, io.EOF):
		return false, true, errNoFarewell
	default:
		return false, err != nil, err
	}
}

// add and farewell need b.mu.
func (b *bells) add(n int)      { b.bytes = (b.bytes + n) % bellSize }
func (b *bells) farewell() bool { return b.bytes == 1 }

// Heard tells this end of n bytes that were read from FD, a socket doorbell, by an event
// loop that reads what it waits on. How many bytes came in all says how the peer ended,
// so Arm has to know of all of them; call Arm also when FD came to its end of file. Any
// goroutine may call Heard.
//
// Before Linux 6.16 a peer that is not trusted can make such a read block: it sends a TCP
// socket along whose close takes as long as its SO_LINGER says. Arm looks first.
func (e *end) Heard(n int) {
	e.heard.mu.Lock()
	defer e.heard.mu.Unlock()
	e.heard.add(n)
}

// unheard makes sense of a bell that could not be rung. That the peer has closed its
// doorbell is not the failure of the call that rang, whose items are in the ring: it is
// the peer's end. Its own doorbell says which: a peer that ended well said farewell
// before, and that must count though the failed bell was noticed first.
func (e *end) unheard(err error) error {
	if !errors.Is(err, errUnheard) {
		return err
	}
	e.HangUp(err)
	return nil
}

// farewell tells the peer that this is a clean end.
func (d *doorbell) farewell() {
	if d.kind != socketDoorbell || !d.enter() {
		return
	}
	sendFarewell(d.fd)
	_ = d.leave()
}

// wake wakes those who wait on d, on this side. Ringing a socket would wake the other
// side, so its receiving half is shut down: that is an edge, and an end of file for
// level-triggered waiters. The peer's bells fail from then on.
func (d *doorbell) wake() error {
	if d.kind != socketDoorbell {
		return d.ring()
	}
	if !d.enter() {
		return ErrClosed
	}
	return errors.Join(shutReceive(d.fd), d.leave())
}

// checkMaker refuses to wait on a socket that a stranger made, and may have kept a copy
// of: recv(2) takes a lock that another recv on the same socket holds while it copies,
// and that one can be made to take for ever, with a buffer that is a page of a FUSE file
// whose server does not answer. MSG_DONTWAIT does not help. A stranger is who could not
// stop this process anyhow, with a signal.
func checkMaker(fd int) error {
	uid, err := socketMaker(fd)
	if err != nil {
		return fmt.Errorf("doorbell %d: %w: %w", fd, ErrDoorbell, err)
	}
	if own := os.Geteuid(); uid != 0 && uid != uint32(own) {
		return fmt.Errorf("doorbell %d is a socket made by uid %d, neither root nor %d (TrustPeer accepts it): %w", fd, uid, own, ErrDoorbell)
	}
	return nil
}
