package gnetring

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

func supported() error { return nil }

// doorbellKind returns the route that gnet itself can take for fd, 0 if it has none. It
// reads no file of a peer's making: a socket is asked for its type, and an eventfd is
// known by its name.
func doorbellKind(fd int) Route {
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err == nil {
		if kind == unix.SOCK_STREAM {
			return RouteSocket
		}
		return 0
	}
	if link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && link == "anon_inode:[eventfd]" {
		return RouteEventfd
	}
	return 0
}

// refusesRights says that no descriptors can be sent to the socket fd.
func refusesRights(fd int) bool {
	passes, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS)
	return err == nil && passes == 0
}

// refuseRights keeps descriptors from being sent to the unix socket fd.
func refuseRights(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0) }

// retry is the funnel for system calls that a signal can interrupt.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// connOf makes a connection, as package net has them, of the stream socket fd, which
// stays the caller's. Both are the same socket.
func connOf(fd int) (net.Conn, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate descriptor %d: %w", fd, err)
	}
	f := os.NewFile(uintptr(dup), "doorbell")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("connection of descriptor %d: %w", fd, err)
	}
	// It is gnet that reads, and it must not wait.
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("set descriptor %d non-blocking: %w", fd, err), c.Close())
	}
	return c, nil
}

// pair makes a pair of connected unix sockets.
func pair() ([2]int, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return [2]int{-1, -1}, fmt.Errorf("socketpair: %w", err)
	}
	return fds, nil
}

// connPair makes a connection to nobody.
func connPair() (net.Conn, error) {
	fds, err := pair()
	if err != nil {
		return nil, err
	}
	c, err := connOf(fds[0])
	if err = errors.Join(err, closeDescriptor(fds[0]), closeDescriptor(fds[1])); err != nil && c != nil {
		err = errors.Join(err, c.Close())
	}
	return c, err
}

// disguise makes the eventfd fd, which stays the caller's, look like a unix connection
// to gnet, which takes nothing else: a duplicate of it replaces the socket under a
// connection. gnet duplicates that descriptor, waits on it and reads it.
func disguise(fd int) (net.Conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("set descriptor %d non-blocking: %w", fd, err)
	}
	c, err := connPair()
	if err != nil {
		return nil, err
	}
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err == nil {
		var dupErr error
		err = raw.Control(func(under uintptr) {
			dupErr = retry(func() error { return unix.Dup3(fd, int(under), unix.O_CLOEXEC) })
		})
		err = errors.Join(err, dupErr)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("disguise descriptor %d: %w", fd, err), c.Close())
	}
	return c, nil
}

var oneByte = []byte{0}

// sendByte wakes the reader of a socket. One that is full has been told.
func sendByte(fd int) error {
	err := retry(func() error { return unix.Send(fd, oneByte, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) })
	if err != nil && err != unix.EAGAIN {
		return fmt.Errorf("send to descriptor %d: %w", fd, err)
	}
	return nil
}

// closeDescriptor does not retry: on Linux the descriptor is gone even after EINTR
// (close(2)).
func closeDescriptor(fd int) error {
	if err := unix.Close(fd); err != nil && err != unix.EINTR {
		return fmt.Errorf("close descriptor %d: %w", fd, err)
	}
	return nil
}
