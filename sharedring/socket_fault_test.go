//go:build linux

package sharedring_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring"
)

// socketEnd returns one of a pair of unix sockets; the test keeps the other.
func socketEnd(t *testing.T, kind int) int {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Close(fds[1])) })
	return fds[0]
}

func socketOf(t *testing.T, domain, kind int) int {
	t.Helper()
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	return fd
}

// doorbellsReplaced opens a handle with other doorbells than its own, which must fail.
func doorbellsReplaced(t *testing.T, empty, full int) {
	t.Helper()
	h, err := sharedring.Create(attackedCapacity, 8)
	require.NoError(t, err)
	require.NoError(t, errors.Join(unix.Close(h.EmptySignal), unix.Close(h.FullSignal)))
	h.EmptySignal, h.FullSignal = empty, full
	refused(t, h, sharedring.ErrDoorbell)
}

func TestFault32OtherSocketsAsDoorbells(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer tcp.Close()
	c, err := net.Dial("tcp", tcp.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	tcpFile, err := c.(*net.TCPConn).File()
	require.NoError(t, err)
	defer tcpFile.Close()
	tcpFD, err := unix.Dup(int(tcpFile.Fd()))
	require.NoError(t, err)

	listening := socketOf(t, unix.AF_UNIX, unix.SOCK_STREAM)
	require.NoError(t, unix.Bind(listening, &unix.SockaddrUnix{Name: "@shmloop-test-" + strconv.Itoa(os.Getpid())}))
	require.NoError(t, unix.Listen(listening, 1))
	for name, fd := range map[string]int{
		"tcp":         tcpFD,
		"udp":         socketOf(t, unix.AF_INET, unix.SOCK_DGRAM),
		"datagram":    socketEnd(t, unix.SOCK_DGRAM),
		"seqpacket":   socketEnd(t, unix.SOCK_SEQPACKET),
		"netlink":     socketOf(t, unix.AF_NETLINK, unix.SOCK_RAW),
		"listening":   listening,
		"unconnected": socketOf(t, unix.AF_UNIX, unix.SOCK_STREAM),
	} {
		t.Run(name, func(t *testing.T) {
			doorbellsReplaced(t, fd, socketEnd(t, unix.SOCK_STREAM))
		})
	}
}

func TestFault32MixedDoorbells(t *testing.T) {
	eventfd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	require.NoError(t, err)
	doorbellsReplaced(t, socketEnd(t, unix.SOCK_STREAM), eventfd)
}

func TestFault33OneSocketTwice(t *testing.T) {
	socket := socketEnd(t, unix.SOCK_STREAM)
	doorbellsReplaced(t, socket, socket)

	// Two ends of one pair: this side rings itself, and that is all.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	h, err := sharedring.Create(1, 8)
	require.NoError(t, err)
	require.NoError(t, errors.Join(unix.Close(h.EmptySignal), unix.Close(h.FullSignal)))
	h.EmptySignal, h.FullSignal = pair[0], pair[1]
	tx, err := sharedring.OpenSender[uint64](h)
	require.NoError(t, err)
	for n := 0; n < tx.Len(); {
		sent, err := tx.Send(make([]uint64, 100))
		require.NoError(t, err)
		n += sent
		_, err = tx.Arm()
		require.NoError(t, err)
	}
	require.NoError(t, tx.Close())
}

// Sockets that were connected have no known maker: the other side could be anybody's.
func TestFault32ConnectedByName(t *testing.T) {
	l, err := net.Listen("unix", "@shmloop-test-named-"+strconv.Itoa(os.Getpid()))
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	f, err := c.(*net.UnixConn).File()
	require.NoError(t, err)
	defer f.Close()
	fd, err := unix.Dup(int(f.Fd()))
	require.NoError(t, err)
	doorbellsReplaced(t, fd, socketEnd(t, unix.SOCK_STREAM))
}

// makerRole makes a ring as another user, and sends the receiver's side of it on the
// socket that it inherits.
func makerRole([]string) int {
	if err := unix.Setresuid(65534, 65534, 65534); err != nil {
		return fail(err)
	}
	_, h, err := sharedring.CreatePair(attackedCapacity, 8, sharedring.WithSocketDoorbells())
	if err != nil {
		return fail(err)
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(h.Memory, h.EmptySignal, h.FullSignal), nil, 0); err != nil {
		return fail(err)
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

// A process that could not stop us must not make a socket that we read.
func TestFault32SocketsOfAStranger(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a process of another uid")
	}
	for _, trust := range []bool{false, true} {
		way, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		theirs := os.NewFile(uintptr(way[1]), "")
		child := proctest.Start(t, "maker", []*os.File{theirs})
		require.NoError(t, theirs.Close())
		control := make([]byte, unix.CmsgSpace(3*4))
		_, n, _, _, err := unix.Recvmsg(way[0], make([]byte, 1), control, unix.MSG_CMSG_CLOEXEC)
		require.NoError(t, err)
		require.NoError(t, unix.Close(way[0]))
		messages, err := unix.ParseSocketControlMessage(control[:n])
		require.NoError(t, err)
		require.Len(t, messages, 1)
		fds, err := unix.ParseUnixRights(&messages[0])
		require.NoError(t, err)
		h := sharedring.Handle{Capacity: attackedCapacity, ItemSize: 8, Memory: fds[0], EmptySignal: fds[1], FullSignal: fds[2]}
		if !trust {
			refused(t, h, sharedring.ErrDoorbell)
		} else {
			rx, err := sharedring.OpenReceiver[uint64](h, sharedring.TrustPeer())
			require.NoError(t, err)
			require.NoError(t, rx.Close())
		}
		require.NoError(t, child.Kill())
	}
}

// lingering returns a descriptor whose last close takes an hour, unless done is called.
func lingering(t *testing.T) (fd int, done func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	peer, err := l.Accept() // and read nothing
	require.NoError(t, err)
	tcp := c.(*net.TCPConn)
	require.NoError(t, tcp.SetLinger(3600))
	for n := 1; n > 0; { // until nothing moves: a close waits for what is unsent
		require.NoError(t, tcp.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
		n, err = tcp.Write(make([]byte, 64<<20))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	f, err := tcp.File()
	require.NoError(t, err)
	defer f.Close()
	fd, err = unix.Dup(int(f.Fd()))
	require.NoError(t, err)
	return fd, func() { require.NoError(t, peer.Close()) }
}

// Descriptors that come with a bell would be closed where nobody asks for them, and that
// can take as long as the peer likes.
func TestFault38DescriptorsWithABell(t *testing.T) {
	before := proctest.Take()
	defer func() { // what is dangerous to close is closed in the background
		for proctest.Take().FDs != before.FDs {
			require.NoError(t, t.Context().Err())
		}
	}()
	bell := []byte{1, 0, 0, 0, 0, 0, 0, 0}
	send := func(t *testing.T, from, to int, bell []byte, flags int) (done func()) {
		// From Linux 6.16 on the socket refuses them; make it an older one.
		if err := unix.SetsockoptInt(to, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 1); err != nil {
			require.ErrorIs(t, err, unix.ENOPROTOOPT)
		}
		fd, done := lingering(t)
		require.NoError(t, unix.Sendmsg(from, bell, unix.UnixRights(fd), nil, flags))
		require.NoError(t, unix.Close(fd))
		return done
	}
	for name, arg := range map[string]struct {
		bell  []byte
		flags int
	}{
		"in line":     {bell, 0},
		"out of band": {bell[:1], unix.MSG_OOB}, // with more bytes they would be in line
	} {
		t.Run(name, func(t *testing.T) {
			_, rx, sender, _ := openPair[uint64](t, 10)
			done := send(t, sender.EmptySignal, rx.FD(), arg.bell, arg.flags)
			armed(t, true, rx.Arm)
			_, err := rx.Receive(make([]uint64, 1))
			require.ErrorIs(t, err, sharedring.ErrPeerGone)
			require.ErrorIs(t, err, sharedring.ErrDoorbell)
			require.NoError(t, rx.Close())
			done()
		})
	}
	t.Run("before a close", func(t *testing.T) {
		_, rx, sender, _ := openPair[uint64](t, 10)
		done := send(t, sender.EmptySignal, rx.FD(), bell, 0)
		require.NoError(t, rx.Close())
		done()
	})
	t.Run("the wrong way", func(t *testing.T) {
		_, rx, sender, receiver := openPair[uint64](t, 10)
		done := send(t, sender.FullSignal, receiver.FullSignal, bell, 0)
		require.NoError(t, rx.Close())
		done()
	})
	t.Run("into a handle", func(t *testing.T) {
		sender, receiver, err := sharedring.CreatePair(10, 8, sharedring.WithSocketDoorbells())
		require.NoError(t, err)
		done := send(t, sender.EmptySignal, receiver.EmptySignal, bell, 0)
		require.NoError(t, receiver.Close())
		require.NoError(t, sender.Close())
		done()
	})
}

// The kernel itself keeps them out where it can.
func TestFault38DescriptorsAreRefused(t *testing.T) {
	_, rx, sender, _ := openPair[uint64](t, 10)
	if _, err := unix.GetsockoptInt(rx.FD(), unix.SOL_SOCKET, unix.SO_PASSRIGHTS); errors.Is(err, unix.ENOPROTOOPT) {
		return // before Linux 6.16
	}
	require.ErrorIs(t, unix.Sendmsg(sender.EmptySignal, []byte{1}, unix.UnixRights(0), nil, 0), unix.EPERM)
}

// A peer that sends what is no bell harms its own ring at most.
func TestFault35OddBells(t *testing.T) {
	_, rx, sender, _ := openPair[uint64](t, 10)
	for _, size := range []int{3, 100_000, 5} {
		_, _ = unix.Write(sender.EmptySignal, make([]byte, size))
		for pending := true; pending; {
			var err error
			pending, err = rx.Arm()
			require.NoError(t, err)
		}
	}
	require.NoError(t, unix.Sendto(sender.EmptySignal, []byte{1, 2, 3}, unix.MSG_OOB, nil))
	armed(t, false, rx.Arm)
	require.NoError(t, unix.Shutdown(sender.EmptySignal, unix.SHUT_WR))
	armed(t, true, rx.Arm)
	_, err := rx.Receive(make([]uint64, 1))
	require.ErrorIs(t, err, sharedring.ErrPeerGone)
}

// socketErrnoRole makes rings with socket doorbells while the kernel refuses a call.
func socketErrnoRole(args []string) int {
	nr, errno, nth := atoi(args[0]), syscall.Errno(atoi(args[1])), args[2]
	before := proctest.Take()
	fault := proctest.Fault{Syscall: uintptr(nr), Errno: errno, Arg: -1}
	if nth == "pass" { // of the calls only those that set the option
		fault.Arg, fault.Mask, fault.Value = 2, 0xffff, unix.SO_OOBINLINE
	}
	if err := proctest.InjectErrno(fault); err != nil {
		return fail(err)
	}
	for range 100 {
		tx, err := sharedring.NewSender[uint64](100, sharedring.WithSocketDoorbells())
		if tx != nil || !errors.Is(err, errno) {
			return fail(fmt.Errorf("got %w, %v expected", err, errno))
		}
	}
	for proctest.Take().FDs != before.FDs { // refused sockets are closed in the background
	}
	return 0
}

func TestFault54ErrnoInMakingSocketDoorbells(t *testing.T) {
	for _, f := range []struct {
		nr    int
		errno syscall.Errno
		nth   string
	}{
		{unix.SYS_SOCKETPAIR, unix.EMFILE, ""},
		{unix.SYS_SOCKETPAIR, unix.ENFILE, ""},
		{unix.SYS_SETSOCKOPT, unix.ENOMEM, "pass"},
		{unix.SYS_GETSOCKOPT, unix.ENOBUFS, ""},
		{unix.SYS_GETPEERNAME, unix.ENOBUFS, ""},
	} {
		child := proctest.Start(t, "socketerrno", nil, strconv.Itoa(f.nr), strconv.Itoa(int(f.errno)), f.nth)
		require.NoError(t, child.Wait(), "%d %v", f.nr, f.errno)
	}
}
