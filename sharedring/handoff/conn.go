package handoff

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/shmloop/shmloop/sharedring"
)

// Peer is the process at the other end, as the kernel recorded it: a client when
// it called connect, a server when it called listen (SO_PEERCRED, unix(7)). The
// numbers are those of this process's namespaces: PID is 0 if the peer's cannot be
// expressed there.
type Peer struct {
	PID      int32
	UID, GID uint32
}

// Conn is one side of a connection that was given its rings. Its methods may be
// called from any goroutine. Close it, also after the peer is gone.
type Conn struct {
	sock    *net.UnixConn // the lifeline
	peer    Peer
	request Request
	release func()        // gives the quota back; nil at a client
	turn    chan struct{} // one Wait at a time

	mu      sync.Mutex
	fd      int // of sock, for calls made under mu; -1 when closed
	pidfd   int // -1 if there is none, or when closed
	ends    ends
	watched *os.File // epoll over lifeline and pidfd, from the first Wait on
	ended   bool     // the peer's end was seen, and how it ended is endErr
	endErr  error
}

// newConn owns what it is given if it succeeds. in and out are nil where the request
// has no such ring.
func newConn(sock *net.UnixConn, peer Peer, pidfd int, req Request, rings ends, release func()) (*Conn, error) {
	c := &Conn{
		sock: sock, peer: peer, request: req, release: release,
		turn:  make(chan struct{}, 1),
		pidfd: pidfd, ends: rings,
	}
	err := onSocket(sock, func(fd int) error {
		c.fd = fd
		refuseRights(fd)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("descriptor of the lifeline: %w", err)
	}
	return c, nil
}

// Request returns what the client asked for, the same on both sides.
func (c *Conn) Request() Request { return c.request }

// Peer returns who the other side was when the connection was made. A client that
// finds a server at a path that others could have made should look at its UID
// before it trusts it with data.
func (c *Conn) Peer() Peer { return c.peer }

// In returns the ring on which this side receives, for sharedring.OpenReceiver.
// The descriptors are the caller's from then on. A second call, and a call where
// the request has no such ring, fails with ErrNoRing.
func (c *Conn) In() (sharedring.Handle, error) { return c.take(&c.ends.in, "in") }

// Out returns the ring on which this side sends, for sharedring.OpenSender. It is
// otherwise like In.
func (c *Conn) Out() (sharedring.Handle, error) { return c.take(&c.ends.out, "out") }

func (c *Conn) take(from **sharedring.Handle, name string) (sharedring.Handle, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return sharedring.Handle{}, fmt.Errorf("handoff: take the %s ring: %w", name, sharedring.ErrClosed)
	}
	return c.ends.take(from, name, c.request)
}

// FD returns the lifeline, for an event loop: it becomes readable when the peer
// said farewell or is gone; then call Check. It is borrowed, non-blocking and -1
// after Close: keep the Conn while the loop has it, and take it out of the loop
// before Close.
func (c *Conn) FD() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fd
}

// PidFD returns a pidfd of the peer, or -1 if there is none (a kernel before 5.3, a
// peer in a foreign pid namespace, or dead before it was asked for). It becomes
// readable when the peer is dead, even if a child of it still holds the socket.
// It is borrowed like FD.
func (c *Conn) PidFD() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pidfd
}

// Close says farewell to the peer, closes all that the Conn owns, untaken rings
// included, and gives the quota back. It does not touch rings that were taken:
// close these first, so that the peer finds in them all that was sent when it sees
// the farewell. Wait and Check return sharedring.ErrClosed from then on, unless
// the peer's end was seen before. Further calls do nothing.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return nil
	}
	_ = sendByte(c.fd, farewell) // it fails if the peer is gone, who needs none
	c.ends.discard()
	var errs []error
	if c.watched != nil {
		errs = append(errs, c.watched.Close()) // ends a Wait
	}
	if c.pidfd >= 0 {
		errs = append(errs, closeDescriptor(c.pidfd))
	}
	errs = append(errs, c.sock.Close())
	c.watched, c.pidfd, c.fd = nil, -1, -1
	if c.release != nil {
		c.release()
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("handoff: close: %w", err)
	}
	return nil
}
