package handoff

import (
	"context"
	"syscall"
	"time"
)

// pollable is a socket or file that waits in the runtime's poller.
type pollable interface {
	syscall.Conn
	SetReadDeadline(time.Time) error
}

// longAgo as a deadline ends a blocking call at once.
var longAgo = time.Unix(1, 0)

// interrupt makes the end of ctx end the blocking calls that set gives a deadline
// to. Call release when these calls are over; it takes the deadline away.
func interrupt(ctx context.Context, set func(time.Time) error) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = set(longAgo) // fails only if the descriptor is closed, which ends the calls too
	})
	return func() {
		if !stop() {
			<-done // or it could set the deadline after we took it away
		}
		_ = set(time.Time{})
	}
}

// awaitReadable blocks until p is readable, its deadline passes, or it is closed.
func awaitReadable(p pollable) error {
	raw, err := p.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool { return readable(int(fd)) })
}

// receive is recvmsg(2) on sock: up to len(b) bytes, and control data into oob. A
// nil oob takes no descriptor: the kernel drops what came and sets the cut flag.
// EINTR goes back to the poller's own loop, where the deadline is looked at, so
// that not even signals without end can hold us longer.
func receive(sock syscall.Conn, b, oob []byte) (n, oobn int, cut bool, err error) {
	raw, err := sock.SyscallConn()
	if err != nil {
		return 0, 0, false, err
	}
	for {
		var callErr error
		err = raw.Read(func(fd uintptr) bool {
			n, oobn, cut, callErr = recvmsg(int(fd), b, oob)
			return callErr != syscall.EAGAIN
		})
		if err != nil {
			return 0, 0, false, err
		}
		if callErr != syscall.EINTR {
			return n, oobn, cut, callErr
		}
	}
}

// onSocket runs f with the descriptor of sock, which stays open meanwhile.
func onSocket(sock syscall.Conn, f func(fd int) error) error {
	raw, err := sock.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	if err := raw.Control(func(fd uintptr) { callErr = f(int(fd)) }); err != nil {
		return err
	}
	return callErr
}
