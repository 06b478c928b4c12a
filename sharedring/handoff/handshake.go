package handoff

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
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
	release, refusal := l.authorize(peer, req)
	if refusal != nil {
		return nil, refusal
	}
	c, err := l.grant(sock, peer, req, release)
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
func (l *Listener) grant(sock *net.UnixConn, peer Peer, req Request, release func()) (*Conn, error) {
	made, err := l.make(req)
	if err != nil {
		return nil, err
	}
	pidfd, err := peerPidFD(sock, peer)
	if err != nil {
		made.close()
		return nil, err
	}
	var c *Conn
	if err = sock.SetReadDeadline(time.Time{}); err == nil {
		c, err = newConn(sock, peer, pidfd, req, made.ends(), release)
	}
	if err == nil {
		err = made.send(func(b []byte, fds []int) error { return sendReply(sock, b, fds) })
	} else {
		made.close()
	}
	if err != nil && pidfd >= 0 {
		_ = closeDescriptor(pidfd)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}
