package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// socket is a client on a socket.
type socket struct {
	s  *server
	fd int
}

func listen(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	_ = unix.Unlink(path) // of a server that was killed
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("listen at %s: %w", path, err), unix.Close(fd))
	}
	return fd, nil
}

// accept takes one client. If there are more, the loop comes back.
func (s *server) accept() {
	fd, _, err := unix.Accept4(s.listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return // it has left again
	}
	c := &socket{s, fd}
	s.sockets[c] = struct{}{}
	if err := s.watch(fd, c.answer); err != nil {
		report("socket", err)
		c.close()
	}
}

// answer is one turn of a socket.
func (c *socket) answer() {
	n, err := unix.Read(c.fd, c.s.buf)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	if err != nil || n == 0 {
		c.close()
		return
	}
	c.s.bySocket++
	if sent, _ := unix.Write(c.fd, c.s.buf[:n]); sent < n {
		report("socket", errSlow)
		c.close()
	}
}

func (c *socket) close() {
	c.s.unwatch(c.fd)
	delete(c.s.sockets, c)
	_ = unix.Close(c.fd)
}
