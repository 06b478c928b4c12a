package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/sharedring"
)

// Between two tries to connect to a server that is busy.
const (
	minRetry = time.Millisecond
	maxRetry = 100 * time.Millisecond
)

// Dial connects to the server at path and asks it for the rings of req. A path
// that begins with @ is a name in the abstract namespace (unix(7)), which has no
// permissions: look at [Conn.Peer]. The caller closes the Conn.
//
// A server that is busy (its backlog is full, or it has too many handshakes) is
// tried again until ctx is done. Any other refusal matches ErrRefused, an answer
// that breaks the protocol ErrProtocol, a server that ends without an answer
// sharedring.ErrPeerGone, a request that cannot be ringbuf.ErrRange, and the end
// of ctx matches ctx.Err().
func Dial(ctx context.Context, path string, req Request) (*Conn, error) {
	if err := supported(); err != nil {
		return nil, fmt.Errorf("handoff: dial %q: %w", path, err)
	}
	if _, _, err := req.check(); err != nil {
		return nil, err
	}
	for pause := minRetry; ; pause = min(2*pause, maxRetry) {
		c, err := dialOnce(ctx, path, req)
		if err == nil {
			return c, nil
		}
		if busy(err) {
			select {
			case <-time.After(pause):
				continue
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("handoff: dial %q: %w (%w)", path, ctx.Err(), err)
		}
		return nil, fmt.Errorf("handoff: dial %q: %w", path, err)
	}
}

// busy reports what connect(2) says of a full backlog, and what our server says.
func busy(err error) bool {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return refused.Status == StatusUnavailable && refused.Reason == ReasonBusy
	}
	return errors.Is(err, syscall.EAGAIN)
}

func dialOnce(ctx context.Context, path string, req Request) (*Conn, error) {
	var d net.Dialer
	sock, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	c, err := ask(ctx, sock.(*net.UnixConn), req)
	if err != nil {
		_ = sock.Close()
		return nil, err
	}
	return c, nil
}

// ask is the client's side of the handshake. It owns sock only if it succeeds.
func ask(ctx context.Context, sock *net.UnixConn, req Request) (*Conn, error) {
	defer interrupt(ctx, sock.SetDeadline)()
	peer, err := peerOf(sock)
	if err != nil {
		return nil, err
	}
	// A server that refuses by policy does not wait for our request: the write
	// may fail with its answer already here.
	_, writeErr := sock.Write(encodeRequest(req))
	var b [replySize]byte
	fds, err := readReply(sock, b[:])
	if err != nil && writeErr != nil {
		return nil, fmt.Errorf("send the request: %w; %w", writeErr, err)
	}
	if err != nil {
		return nil, err
	}
	c, err := takeReply(sock, b[:], fds, req, peer)
	if err != nil {
		memfd.Discard(fds...)
		return nil, err
	}
	return c, nil
}

// takeReply turns a whole reply into a Conn. It owns sock and fds only if it
// succeeds.
func takeReply(sock *net.UnixConn, b []byte, fds []int, req Request, peer Peer) (*Conn, error) {
	capacities, err := decodeReply(b, req)
	switch {
	case err != nil && len(fds) > 0:
		return nil, fmt.Errorf("%w, with %d descriptors: %w", err, len(fds), ErrProtocol)
	case err != nil:
		return nil, err
	case len(fds) != fdsPerRing*len(capacities):
		return nil, fmt.Errorf("reply with %d descriptors for %d rings: %w", len(fds), len(capacities), ErrProtocol)
	}
	pidfd, err := peerPidFD(sock, peer)
	if err != nil {
		return nil, err
	}
	var rings []*sharedring.Handle
	for i, capacity := range capacities {
		f := fds[fdsPerRing*i:]
		rings = append(rings, &sharedring.Handle{Capacity: capacity, ItemSize: req.ItemSize, Memory: f[0], EmptySignal: f[1], FullSignal: f[2]})
	}
	sends, receives := byDirection(req.Direction, rings)
	c, err := newConn(sock, peer, pidfd, req, ends{in: receives, out: sends}, nil)
	if err != nil && pidfd >= 0 {
		_ = closeDescriptor(pidfd)
	}
	return c, err
}

// byDirection tells the rings of a reply apart: the one on which the client sends
// and the one on which it receives, nil where there is none.
func byDirection(d Direction, rings []*sharedring.Handle) (sends, receives *sharedring.Handle) {
	if d&Out != 0 {
		sends, rings = rings[0], rings[1:]
	}
	if d&In != 0 {
		receives = rings[0]
	}
	return sends, receives
}

// readReply fills b and returns the descriptors that came with it; after an error
// none is left open. They are only taken with the first byte, from one message,
// and nothing of that message may be cut off.
func readReply(sock syscall.Conn, b []byte) (fds []int, err error) {
	defer func() {
		if err != nil {
			memfd.Discard(fds...)
			fds = nil
		}
	}()
	oob := make([]byte, controlSpace)
	for read := 0; read < len(b); {
		n, oobn, cut, err := receive(sock, b[read:], oob)
		got, parseErr := parseRights(oob[:oobn])
		fds = append(fds, got...) // before anything else: they are ours to close
		switch {
		case err != nil && !errors.Is(err, syscall.ECONNRESET):
			return fds, fmt.Errorf("read the reply: %w", err)
		case err != nil || n == 0:
			return fds, fmt.Errorf("read the reply: %w after %d of %d bytes: %w", io.ErrUnexpectedEOF, read, len(b), sharedring.ErrPeerGone)
		case parseErr != nil:
			return fds, parseErr
		case cut:
			return fds, fmt.Errorf("reply cut short: more descriptors than a reply has, or none free in this process: %w", ErrProtocol)
		case read > 0 && oobn > 0:
			return fds, fmt.Errorf("descriptors after the first byte of the reply: %w", ErrProtocol)
		}
		read += n
	}
	return fds, nil
}
