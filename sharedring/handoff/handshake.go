package handoff

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/shmloop/shmloop/sharedring"
)

// handshake serves one client, on a goroutine of its own, from the slot that the
// accept loop took for it to the application's Accept.
func (l *Listener) handshake(sock *net.UnixConn) {
	defer l.running.Done()
	defer l.pending.release()
	c, refusal := l.negotiate(sock)
	if refusal != nil {
		refuse(sock, refusal)
		return
	}
	select {
	case l.ready <- c:
	case <-l.closing:
		_ = c.Close()
	}
}

// refuse tells the client why and closes. The reply always finds room in the empty
// buffer of a fresh socket; if the client is gone, nobody needs it.
func refuse(sock *net.UnixConn, refusal *RefusedError) {
	_ = sendReply(sock, encodeReply(reply{status: refusal.Status, reason: refusal.Reason}), nil)
	_ = sock.Close()
}

// negotiate is the server's side of the handshake. It owns sock only if it
// succeeds.
func (l *Listener) negotiate(sock *net.UnixConn) (*Conn, *RefusedError) {
	peer, err := peerOf(sock)
	if err != nil {
		return nil, &RefusedError{StatusUnavailable, ReasonResources}
	}
	// The policy first: nothing that a stranger sends is read, not even taken
	// into this process.
	if err := l.cfg.Allow(peer); err != nil {
		return nil, &RefusedError{StatusDenied, ReasonNone}
	}
	req, refusal := l.readRequest(sock, peer)
	if refusal != nil {
		return nil, refusal
	}
	bytes, reason, err := req.check()
	if err != nil {
		return nil, &RefusedError{StatusInvalid, reason}
	}
	release, reason := l.quota.take(peer.UID, req.rings(), bytes)
	if reason != ReasonNone {
		return nil, &RefusedError{StatusQuota, reason}
	}
	c, err := grant(sock, peer, req, release)
	if err != nil {
		release()
		return nil, &RefusedError{StatusUnavailable, ReasonResources}
	}
	return c, nil
}

// readRequest reads exactly one request, in the time that the client has. It gives
// the kernel no room for descriptors: those that a client sends are dropped before
// they reach this process's table, and it is told that they were there.
func (l *Listener) readRequest(sock *net.UnixConn, peer Peer) (Request, *RefusedError) {
	now := time.Now()
	if err := sock.SetReadDeadline(now.Add(l.cfg.Timeout)); err != nil {
		return Request{}, &RefusedError{StatusUnavailable, ReasonResources}
	}
	s := &silence{sock: sock, uid: peer.UID, since: now}
	l.pending.enter(s)
	var b [requestSize]byte
	carried, err := readAll(sock, b[:])
	interrupted := l.pending.leave(s)
	switch {
	case carried:
		return Request{}, &RefusedError{StatusInvalid, ReasonDescriptors}
	case err == nil: // a request that came in time, even if it was a close thing
	case interrupted != ReasonNone:
		return Request{}, &RefusedError{StatusUnavailable, interrupted}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Request{}, &RefusedError{StatusUnavailable, ReasonDeadline}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Request{}, &RefusedError{StatusInvalid, ReasonTruncated}
	default:
		return Request{}, &RefusedError{StatusUnavailable, ReasonResources}
	}
	req, reason := decodeRequest(b[:])
	if reason != ReasonNone {
		return Request{}, &RefusedError{StatusInvalid, reason}
	}
	return req, nil
}

// readAll fills b. carried says that descriptors came along.
func readAll(sock *net.UnixConn, b []byte) (carried bool, err error) {
	for len(b) > 0 {
		n, _, cut, err := receive(sock, b, nil)
		switch {
		case err != nil:
			return false, err
		case cut:
			return true, nil
		case n == 0:
			return false, io.ErrUnexpectedEOF
		}
		b = b[n:]
	}
	return false, nil
}

// grant makes the rings and answers. It owns sock and release only if it succeeds.
func grant(sock *net.UnixConn, peer Peer, req Request, release func()) (_ *Conn, err error) {
	var rings []*sharedring.Handle
	pidfd := -1
	defer func() {
		if err == nil {
			return
		}
		for _, h := range rings {
			_ = h.Close()
		}
		if pidfd >= 0 {
			_ = closeDescriptor(pidfd)
		}
	}()
	r := reply{itemSize: req.ItemSize}
	var fds []int
	for range req.rings() {
		h, err := sharedring.Create(req.Capacity, req.ItemSize)
		if err != nil {
			return nil, err
		}
		rings = append(rings, &h)
		r.capacities = append(r.capacities, h.Capacity)
		fds = append(fds, h.Memory, h.EmptySignal, h.FullSignal)
	}
	if pidfd, err = peerPidFD(sock, peer); err != nil {
		return nil, err
	}
	if err := sock.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	sent, received := byDirection(req.Direction, rings) // by the client
	c, err := newConn(sock, peer, pidfd, req, sent, received, release)
	if err != nil {
		return nil, err
	}
	// Sending copies the descriptors; ours stay for In and Out.
	if err := sendReply(sock, encodeReply(r), fds); err != nil {
		return nil, err
	}
	return c, nil
}
