package handoff

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func supported() error { return nil }

// controlSpace holds the descriptors of the largest reply. It is a little more
// than a reply with one ring needs, which is why descriptors are counted.
var controlSpace = unix.CmsgSpace(maxRings * fdsPerRing * 4)

func peerOf(sock syscall.Conn) (p Peer, err error) {
	err = onSocket(sock, func(fd int) (err error) {
		p, err = credentials(fd)
		return err
	})
	return p, err
}

func credentials(fd int) (Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, fmt.Errorf("getsockopt SO_PEERCRED: %w", err)
	}
	return Peer{PID: cred.Pid, UID: cred.Uid, GID: cred.Gid}, nil
}

// peerPidFD returns a pidfd of the peer, or -1 if none can be had. SO_PEERPIDFD
// (Linux 6.5) is sure to be of the process in SO_PEERCRED; opened by number it
// could be of another one that got the number since, whose death would then end
// the connection. The error is one of this process's limits.
func peerPidFD(sock syscall.Conn, p Peer) (int, error) {
	pidfd := -1
	err := onSocket(sock, func(fd int) (err error) {
		pidfd, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
		return err
	})
	if errors.Is(err, unix.ENOPROTOOPT) && p.PID > 0 {
		pidfd, err = unix.PidfdOpen(int(p.PID), 0)
	}
	switch {
	case err == nil:
		return pidfd, nil
	case noDescriptors(err):
		return -1, fmt.Errorf("pidfd of the peer: %w", err)
	}
	return -1, nil // an older kernel, or the peer is dead: the lifeline tells
}

func recvmsg(fd int, b, oob []byte) (n, oobn int, cut bool, err error) {
	n, oobn, flags, _, err := unix.Recvmsg(fd, b, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return 0, 0, false, err
	}
	return n, oobn, flags&(unix.MSG_CTRUNC|unix.MSG_TRUNC) != 0, nil
}

// parseRights returns every descriptor in oob, also if it returns an error: they
// are in this process's table, and the caller closes them.
func parseRights(oob []byte) (fds []int, err error) {
	messages := 0
	for len(oob) >= unix.CmsgLen(0) {
		header, data, rest, perr := unix.ParseOneSocketControlMessage(oob)
		if perr != nil {
			return fds, fmt.Errorf("control data: %w: %w", perr, ErrProtocol)
		}
		oob = rest
		messages++
		if header.Level != unix.SOL_SOCKET || header.Type != unix.SCM_RIGHTS {
			err = fmt.Errorf("control message of level %d, type %d: %w", header.Level, header.Type, ErrProtocol)
			continue
		}
		for ; len(data) >= 4; data = data[4:] {
			fds = append(fds, int(int32(native.Uint32(data))))
		}
	}
	if err == nil && messages > 1 {
		err = fmt.Errorf("%d control messages: %w", messages, ErrProtocol)
	}
	return fds, err
}

// sendReply writes b and all fds in one message.
func sendReply(sock *net.UnixConn, b []byte, fds []int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	n, _, err := sock.WriteMsgUnix(b, oob, nil)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// sendMessage is sendReply for a descriptor. It does not wait: the first message on a
// connection has room.
func sendMessage(fd int, b []byte, fds []int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for {
		n, err := unix.SendmsgN(fd, b, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == nil && n != len(b) {
			err = io.ErrShortWrite
		}
		if err != unix.EINTR {
			return err
		}
	}
}

// sendByte does not wait and raises no SIGPIPE.
func sendByte(fd int, b byte) error {
	for {
		err := unix.Sendto(fd, []byte{b}, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

// refuseRights keeps descriptors off a lifeline (Linux 6.16; nothing happens before),
// and out-of-band data where MSG_PEEK sees what comes with it.
func refuseRights(fd int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0)
}

// receiveByte takes one byte from a socket without waiting: EAGAIN if there is
// none yet, io.EOF at the end. It looks first and takes nothing that carries
// descriptors: there is no room for them, and the kernel would close them, which can
// block for as long as a lingering TCP socket says (socket(7), SO_LINGER).
func receiveByte(fd int) (byte, error) {
	var b [1]byte
	for {
		_, _, flags, _, err := unix.Recvmsg(fd, b[:], nil, unix.MSG_DONTWAIT|unix.MSG_PEEK)
		if err == nil && flags&unix.MSG_CTRUNC != 0 {
			return 0, fmt.Errorf("descriptors on the lifeline: %w", ErrProtocol)
		}
		var n int
		if err == nil {
			n, _, err = unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT)
		}
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return b[0], nil
	}
}

// readable reports whether fd has an event now. A pending signal interrupts poll(2)
// even when it does not wait, and must not pass for an event: of a pidfd, that would
// be a death.
func readable(fd int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if err != unix.EINTR {
			return n > 0
		}
	}
}

// newEpoll returns an epoll that is readable when one of fds is.
func newEpoll(fds ...int) (*os.File, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	for _, fd := range fds {
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			_ = closeDescriptor(ep)
			return nil, fmt.Errorf("epoll_ctl: add descriptor %d: %w", fd, err)
		}
	}
	// Non-blocking is how os.NewFile knows that it can wait in the runtime's poller.
	if err := unix.SetNonblock(ep, true); err != nil {
		_ = closeDescriptor(ep)
		return nil, fmt.Errorf("set the epoll non-blocking: %w", err)
	}
	return os.NewFile(uintptr(ep), "lifeline"), nil
}

// newReserve returns a descriptor whose only use is to be closed.
func newReserve() (int, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// setSocketMode sets the mode of the file that bind(2) will make; the umask can
// only take away from it. A chmod after bind would leave a moment in which others
// can connect.
func setSocketMode(raw syscall.RawConn, mode uint32) error {
	var callErr error
	if err := raw.Control(func(fd uintptr) { callErr = unix.Fchmod(int(fd), mode) }); err != nil {
		return err
	}
	return callErr
}

// closeDescriptor does not retry: on Linux the descriptor is gone even after EINTR
// (close(2)).
func closeDescriptor(fd int) error {
	if err := unix.Close(fd); err != nil && err != unix.EINTR {
		return fmt.Errorf("close descriptor %d: %w", fd, err)
	}
	return nil
}

// noDescriptors reports that a limit of this process or machine stops us.
func noDescriptors(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}
