package sharedring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd"
)

// eventfd makes a doorbell. It blocks by default, because a peer's blocking read
// must work (the Rust crate's does); see setNonblock.
func eventfd() (int, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("sharedring: eventfd: %w", err)
	}
	return fd, nil
}

func dupDescriptor(fd int) (int, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("sharedring: duplicate descriptor %d: %w", fd, err)
	}
	return dup, nil
}

// closeDescriptor does not retry: on Linux the descriptor is gone even after EINTR
// (close(2)).
func closeDescriptor(fd int) error {
	if err := unix.Close(fd); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("sharedring: close descriptor %d: %w", fd, err)
	}
	return nil
}

// setNonblock is for the doorbell that this side waits on, and for no other: the
// flag is shared with the peer, and would make its blocking reads fail.
func setNonblock(fd int) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("sharedring: set doorbell %d non-blocking: %w", fd, err)
	}
	return nil
}

// secureDoorbell closes fd on exec, and refuses one that was opened for its path
// only (O_PATH), which has the right name but cannot be rung.
func secureDoorbell(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return fmt.Errorf("fcntl(F_GETFL): %w", err)
	}
	if flags&unix.O_PATH != 0 {
		return errors.New("opened with O_PATH")
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return fmt.Errorf("fcntl(F_SETFD): %w", err)
	}
	return nil
}

// socketPair makes a socket doorbell: the end that is rung, and the one to wait on.
func socketPair() (rings, waits int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("sharedring: socketpair: %w", err)
	}
	return fds[0], fds[1], nil
}

// closesAtOnce says that fd is not a socket, or a unix socket with nothing in it: with
// what is in it descriptors are closed that a peer sent, and that can take as long as
// the close of another kind of socket (see drainSocket). It reads nothing.
func closesAtOnce(fd int) bool {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return true
	}
	n, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
	return domain == unix.AF_UNIX && err == nil && n == 0
}

// secureSocket refuses what is not a connected unix stream socket, and keeps
// descriptors out of it as well as the kernel can.
func secureSocket(fd int) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return fmt.Errorf("getsockopt(SO_DOMAIN): %w", err)
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return fmt.Errorf("getsockopt(SO_TYPE): %w", err)
	}
	if domain != unix.AF_UNIX || kind != unix.SOCK_STREAM {
		return fmt.Errorf("a socket of domain %d and type %d, not a unix stream socket", domain, kind)
	}
	if _, err := unix.Getpeername(fd); err != nil { // also of a listening socket
		return fmt.Errorf("getpeername: %w", err)
	}
	// Out-of-band data would be dropped with the descriptors in it, unseen by
	// MSG_PEEK; see drainSocket.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1); err != nil {
		return fmt.Errorf("setsockopt(SO_OOBINLINE): %w", err)
	}
	// From Linux 6.16 on the peer cannot send any at all, which is also for those who
	// read the socket themselves. Before that there is no such option.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0)
	return nil
}

// socketMaker returns the uid of who made a pair of sockets, as the kernel recorded it
// (unix(7), SO_PEERCRED). Of sockets that were connected it would be the uid of who
// listened or connected, which need not be the one who has this end; they have a name
// on one side.
func socketMaker(fd int) (uid uint32, err error) {
	for _, call := range []uintptr{unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME} {
		var name unix.RawSockaddrUnix
		size := uint32(unsafe.Sizeof(name))
		_, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size)))
		if errno != 0 {
			return 0, fmt.Errorf("name of the socket: %w", errno)
		}
		if size > uint32(unsafe.Sizeof(name.Family)) {
			return 0, errors.New("a socket with a name, which has no known maker (TrustPeer accepts it)")
		}
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, fmt.Errorf("getsockopt(SO_PEERCRED): %w", err)
	}
	return cred.Uid, nil
}

var one = binary.NativeEndian.AppendUint64(nil, 1)

// writeDoorbell adds 1 to an eventfd. A full counter (EAGAIN) is a bell that rings. The Go
// scheduler is not told, which would cost a sixth more: that a trusted peer's counter is
// full, the one case in which this could block, takes 2^64 bells that nobody reads.
func writeDoorbell(fd int) error {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(one))), uintptr(len(one)))
		switch errno {
		case 0, unix.EAGAIN:
			return nil
		case unix.EINTR:
		default:
			return fmt.Errorf("sharedring: write to doorbell %d: %w", fd, errno)
		}
	}
}

// iocb is the kernel's struct iocb (linux/aio_abi.h). What is left out stays zero,
// in either byte order.
type iocb struct {
	_      [2]uint64 // data, key, rw_flags
	opcode uint16
	_      uint16 // reqprio
	fildes uint32
	_      [4]uint64 // buf, nbytes, offset, reserved
	flags  uint32
	resfd  uint32
}

const (
	iocbPread     = 0
	iocbFlagResfd = 1
	aioEvents     = 128
)

type ioEvent [4]uint64 // struct io_event: data, obj, res, res2

// aio is the process's one AIO context. It is made with the first ring of a peer
// that is not trusted, and kept.
var aio struct {
	mu      sync.Mutex
	context atomic.Uintptr // 0: not made yet
}

// openSignals makes sure that signalDoorbell will work. A failure is not remembered:
// the limit on AIO contexts is the machine's, and may be free again.
func openSignals() error {
	aio.mu.Lock()
	defer aio.mu.Unlock()
	if aio.context.Load() != 0 {
		return nil
	}
	var ctx uintptr
	_, _, errno := unix.Syscall(unix.SYS_IO_SETUP, aioEvents, uintptr(unsafe.Pointer(&ctx)), 0)
	if errno != 0 {
		return fmt.Errorf("sharedring: io_setup, for doorbells that a peer cannot block (fs.aio-max-nr may be used up; TrustPeer does without): %w", errno)
	}
	aio.context.Store(ctx)
	return nil
}

// signalDoorbell adds 1 to an eventfd as the completion of an empty AIO read. The
// kernel does that without looking at O_NONBLOCK and also when the counter is
// full, so a peer that shares the eventfd cannot block us (RWF_NOWAIT would say
// the same of a write, but eventfds refuse it). The read itself, 0 bytes of the
// eventfd, fails at once and takes nothing. It needs openSignals.
func signalDoorbell(fd int) error {
	ctx := aio.context.Load()
	cb := iocb{opcode: iocbPread, fildes: uint32(fd), flags: iocbFlagResfd, resfd: uint32(fd)}
	cbs := [1]*iocb{&cb}
	for range 8 { // each round but a failed one makes room for 128 completions
		_, _, errno := unix.RawSyscall(unix.SYS_IO_SUBMIT, ctx, 1, uintptr(unsafe.Pointer(&cbs)))
		switch errno {
		case 0:
			return nil
		case unix.EAGAIN:
			reapSignals(ctx)
		case unix.EINTR:
		default:
			return fmt.Errorf("sharedring: io_submit to doorbell %d: %w", fd, errno)
		}
	}
	return fmt.Errorf("sharedring: io_submit to doorbell %d: %w", fd, unix.EAGAIN)
}

// reapSignals takes the completions, of which nobody needs one, out of the full
// context.
func reapSignals(ctx uintptr) {
	var events [aioEvents]ioEvent
	unix.RawSyscall6(unix.SYS_IO_GETEVENTS, ctx, 0, aioEvents, uintptr(unsafe.Pointer(&events)), 0, 0)
}

// sendBell rings a socket doorbell. MSG_DONTWAIT is of this call alone, so no peer can
// make it block. A full buffer (EAGAIN) is a bell that rings: see listen.
func sendBell(fd int) error {
	switch err := send(fd, one); {
	case err == nil || errors.Is(err, unix.EAGAIN):
		return nil
	case errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET):
		return fmt.Errorf("ring doorbell %d: %w: %w", fd, errUnheard, err)
	default:
		return fmt.Errorf("sharedring: send to doorbell %d: %w", fd, err)
	}
}

// sendFarewell makes room if bells that the peer did not take leave none: it may never
// take any again, and still wants to know. The default buffer is not the largest that
// anybody may have.
func sendFarewell(fd int) {
	farewell := []byte{farewellByte}
	if errors.Is(send(fd, farewell), unix.EAGAIN) {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, math.MaxInt32)
		_ = send(fd, farewell)
	}
}

func send(fd int, b []byte) error {
	for {
		err := unix.Sendto(fd, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// drainSocket takes what is there off a socket doorbell, and returns how many bytes
// that were. more says that it stopped after so many rounds. The error is io.EOF at
// the end, and errRights if the peer sent descriptors, which stay where they are: to
// receive them without a place for them closes them, and the close of a TCP
// socket takes as long as its SO_LINGER says. MSG_PEEK shows them without that.
func drainSocket(fd, rounds int) (n int, more bool, err error) {
	var b [drainBuffer]byte
	for range rounds {
		got, truncated, err := receive(fd, b[:], unix.MSG_PEEK)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return n, false, nil
		case err != nil:
			return n, false, fmt.Errorf("receive from doorbell %d: %w", fd, err)
		case truncated:
			return n, false, fmt.Errorf("doorbell %d: %w", fd, errRights)
		case got == 0:
			return n, false, io.EOF
		}
		got, _, err = receive(fd, b[:got], 0)
		if err != nil && !errors.Is(err, unix.EAGAIN) { // that: another reader was faster
			return n, false, fmt.Errorf("receive from doorbell %d: %w", fd, err)
		}
		n += got
	}
	return n, true, nil
}

// receive does not wait. truncated tells of control data, for which it has no place.
func receive(fd int, b []byte, flags int) (n int, truncated bool, err error) {
	iov := unix.Iovec{Base: &b[0]}
	iov.SetLen(len(b))
	for {
		msg := unix.Msghdr{Iov: &iov}
		msg.SetIovlen(1)
		got, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), uintptr(flags|unix.MSG_DONTWAIT))
		switch errno {
		case 0:
			return int(got), msg.Flags&unix.MSG_CTRUNC != 0, nil
		case unix.EINTR:
		default:
			return 0, false, errno
		}
	}
}

// shutReceive wakes all who wait for fd.
func shutReceive(fd int) error {
	if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil {
		return fmt.Errorf("sharedring: shut down doorbell %d: %w", fd, err)
	}
	return nil
}

// closeSocket tells the peer first: shutdown(2) acts at once and on all copies.
// Nothing comes in any more after it, so a look at what is there tells whether close(2)
// is safe: it closes the descriptors that a peer sent, too; see drainSocket.
func closeSocket(fd int) error {
	_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	const rounds = 1 << 10 // of 512 bytes: more than fits in the largest buffer by default
	if _, more, err := drainSocket(fd, rounds); more || errors.Is(err, errRights) {
		memfd.Discard(fd)
		return nil
	}
	return closeDescriptor(fd)
}
