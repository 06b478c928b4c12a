package handoff

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring"
)

// hostileServer runs act for the first client, and then closes its socket.
func hostileServer(t *testing.T, act func(client *net.UnixConn) error) (path string) {
	path = socketPath(t)
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		client, err := l.Accept()
		if err == nil {
			err = act(client.(*net.UnixConn))
			client.Close()
		}
		done <- err
	}()
	t.Cleanup(func() {
		l.Close()
		require.NoError(t, <-done)
	})
	return path
}

func readRequestOf(client *net.UnixConn) error {
	_, err := io.ReadFull(client, make([]byte, requestSize))
	return err
}

func goodReply(req Request) []byte {
	return encodeReply(reply{capacities: slices.Repeat([]int{req.Capacity}, req.rings()), itemSize: req.ItemSize})
}

// dialHostile dials a server that sends parts, each with its descriptors, and
// checks that nothing of it stays.
func dialHostile(t *testing.T, req Request, parts ...part) error {
	path := hostileServer(t, func(client *net.UnixConn) error {
		if err := readRequestOf(client); err != nil {
			return err
		}
		for _, p := range parts {
			if _, _, err := client.WriteMsgUnix(p.data, p.control, nil); err != nil {
				return err
			}
			if p.pause {
				if err := drained(client); err != nil {
					return err
				}
			}
		}
		// The client hangs up first, so that its errors are about what was sent.
		client.SetReadDeadline(time.Now().Add(patience))
		_, err := client.Read(make([]byte, 1))
		if err == io.EOF || err == nil {
			return nil
		}
		return err
	})
	c, err := Dial(testContext(t), path, req)
	if err == nil {
		require.NoError(t, c.Close())
	}
	return err
}

type part struct {
	data, control []byte
	pause         bool // until the client has read it
}

// drained waits until the other side has read all that was sent. There is no event
// for that.
func drained(c *net.UnixConn) error {
	return onSocket(c, func(fd int) error {
		for {
			n, err := unix.IoctlGetInt(fd, unix.TIOCOUTQ)
			if n == 0 || err != nil {
				return err
			}
			runtime.Gosched()
		}
	})
}

func TestFault37WrongDescriptorCount(t *testing.T) {
	duplex := oneRing
	duplex.Direction = Duplex
	for _, req := range []Request{oneRing, duplex} {
		for _, count := range []int{0, 1, 2, 3, 4, 5, 6, 7, 253} {
			if count == fdsPerRing*req.rings() {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", req.Direction, count), func(t *testing.T) {
				fds := someFDs(t, count)
				before := proctest.Take()
				err := dialHostile(t, req, part{data: goodReply(req), control: unix.UnixRights(fds...)})
				require.ErrorIs(t, err, ErrProtocol)
				requireNoMoreFDs(t, before)
			})
		}
	}
}

// requireNoMoreFDs allows for the two sockets of a hostile server, which is still
// closing them.
func requireNoMoreFDs(t *testing.T, before proctest.Census) {
	require.LessOrEqual(t, proctest.Take().FDs, before.FDs+2)
}

func TestFault37RightCountWrongDescriptors(t *testing.T) {
	fds := someFDs(t, 3)
	path := hostileServer(t, func(client *net.UnixConn) error {
		if err := readRequestOf(client); err != nil {
			return err
		}
		_, _, err := client.WriteMsgUnix(goodReply(oneRing), unix.UnixRights(fds...), nil)
		return err
	})
	c, err := Dial(testContext(t), path, oneRing)
	require.NoError(t, err, "what they are is checked when they are opened")
	defer c.Close()
	require.ErrorIs(t, c.Wait(testContext(t)), sharedring.ErrPeerGone)
	before := proctest.Take()
	h, err := c.Out()
	require.NoError(t, err)
	_, err = sharedring.OpenSender[uint64](h)
	require.Error(t, err)
	require.Eventually(t, func() bool { return proctest.Take().FDs == before.FDs-3 }, patience, time.Millisecond,
		"what may hang is closed on the side")
}

func TestFault38(t *testing.T) {
	good := goodReply(oneRing)
	three := unix.UnixRights(someFDs(t, 3)...)
	refusal := encodeReply(reply{status: StatusDenied})
	otherVersion := slices.Clone(good)
	native.PutUint16(otherVersion[4:], 9)
	for _, c := range []struct {
		name  string
		parts []part
		want  error
	}{
		{"data without descriptors", []part{{data: good}}, ErrProtocol},
		{"control data cut off", []part{{data: good, control: unix.UnixRights(someFDs(t, 100)...)}}, ErrProtocol},
		{"two control messages", []part{{data: good, control: slices.Concat(three, three)}}, ErrProtocol},
		{"descriptors with a later byte", []part{{data: good[:20], pause: true}, {data: good[20:], control: three}}, ErrProtocol},
		{"descriptors twice", []part{{data: good[:20], control: three}, {data: good[20:], control: three}}, ErrProtocol},
		{"descriptors with a refusal", []part{{data: refusal, control: three}}, ErrProtocol},
		{"descriptors with another version", []part{{data: otherVersion, control: three}}, ErrProtocol},
		{"refusal", []part{{data: refusal}}, ErrRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := proctest.Take()
			require.ErrorIs(t, dialHostile(t, oneRing, c.parts...), c.want)
			requireNoMoreFDs(t, before)
		})
	}
}

// A second control message cannot come from the peer alone: the kernel merges two
// SCM_RIGHTS. It can, if this process asked for credentials with every message.
func TestFault38SecondControlMessage(t *testing.T) {
	ours, theirs := socketPair(t)
	require.NoError(t, onSocket(ours, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	}))
	_, _, err := theirs.WriteMsgUnix(goodReply(oneRing), unix.UnixRights(someFDs(t, 1)...), nil)
	require.NoError(t, err)
	before := proctest.Take()

	saved := controlSpace
	controlSpace = 1024 // room for all of it
	defer func() { controlSpace = saved }()
	fds, err := readReply(ours, make([]byte, replySize))
	require.ErrorIs(t, err, ErrProtocol)
	require.ErrorContains(t, err, "control message")
	require.Empty(t, fds)
	require.Equal(t, before.FDs, proctest.Take().FDs)
}

// The kernel would merge these two, so they are made by hand.
func TestFault38TwoControlMessagesOfDescriptors(t *testing.T) {
	fds, err := parseRights(append(unix.UnixRights(1000), unix.UnixRights(1001, 1002)...))
	require.ErrorIs(t, err, ErrProtocol)
	require.Equal(t, []int{1000, 1001, 1002}, fds, "all of them, for the caller to close")

	fds, err = parseRights(nil)
	require.NoError(t, err)
	require.Empty(t, fds)
}

// socketPair returns two connected sockets.
func socketPair(t *testing.T) (a, b *net.UnixConn) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	var conns []*net.UnixConn
	for _, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		t.Cleanup(func() { c.Close() })
		conns = append(conns, c.(*net.UnixConn))
	}
	return conns[0], conns[1]
}

func TestReplyInPieces(t *testing.T) {
	ours, theirs := socketPair(t)
	good := goodReply(oneRing)
	sent := unix.UnixRights(someFDs(t, 3)...)
	go func() {
		_, _, _ = theirs.WriteMsgUnix(good[:1], sent, nil)
		_ = drained(theirs)
		_, _ = theirs.Write(good[1:])
	}()
	b := make([]byte, replySize)
	fds, err := readReply(ours, b)
	require.NoError(t, err)
	require.Len(t, fds, 3)
	require.Equal(t, good, b)
	for _, fd := range fds {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		require.NoError(t, err)
		require.Equal(t, unix.FD_CLOEXEC, flags)
	}
	memfd.Discard(fds...)
}

func TestServerGoneBeforeItAnswered(t *testing.T) {
	three := unix.UnixRights(someFDs(t, 3)...)
	for name, act := range map[string]func(*net.UnixConn) error{
		"at once":           func(*net.UnixConn) error { return nil },
		"after the request": readRequestOf,
		"in the reply": func(c *net.UnixConn) error {
			if err := readRequestOf(c); err != nil {
				return err
			}
			_, _, err := c.WriteMsgUnix(goodReply(oneRing)[:47], three, nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := proctest.Take()
			_, err := Dial(testContext(t), hostileServer(t, act), oneRing)
			require.ErrorIs(t, err, sharedring.ErrPeerGone)
			requireNoMoreFDs(t, before)
		})
	}
}

func TestDialEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	path := hostileServer(t, func(client *net.UnixConn) error {
		if err := readRequestOf(client); err != nil {
			return err
		}
		cancel()
		_, err := client.Read(make([]byte, 1)) // until the client hangs up
		require.Equal(t, io.EOF, err)
		return nil
	})
	_, err := Dial(ctx, path, oneRing)
	require.ErrorIs(t, err, context.Canceled)

	_, err = Dial(ctx, path, oneRing)
	require.ErrorIs(t, err, context.Canceled, "done before it began")
}

func TestDialNobodyThere(t *testing.T) {
	_, err := Dial(testContext(t), filepath.Join(t.TempDir(), "none"), oneRing)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Dial(testContext(t), abstractName(t), oneRing)
	require.ErrorIs(t, err, unix.ECONNREFUSED)
}

func TestDialTriesAgainWhenServerIsBusy(t *testing.T) {
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer l.Close()
	dialed := make(chan error)
	go func() {
		c, err := Dial(testContext(t), path, oneRing)
		if err == nil {
			err = c.Close()
		}
		dialed <- err
	}()
	busy := encodeReply(reply{status: StatusUnavailable, reason: ReasonBusy})
	for _, p := range []part{{data: busy}, {data: busy}, {data: goodReply(oneRing), control: unix.UnixRights(someFDs(t, 3)...)}} {
		c, err := l.Accept()
		require.NoError(t, err)
		_, _, err = c.(*net.UnixConn).WriteMsgUnix(p.data, p.control, nil)
		require.NoError(t, err)
		defer c.Close()
	}
	require.NoError(t, <-dialed)
}

// A listener whose backlog is full makes connect(2) fail with EAGAIN.
func TestDialWaitsForBacklog(t *testing.T) {
	path := socketPath(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	require.NoError(t, unix.Listen(fd, 0))
	three := unix.UnixRights(someFDs(t, 3)...)
	first := rawClient(t, path)
	defer first.Close()
	_, err = net.Dial("unix", path)
	require.ErrorIs(t, err, unix.EAGAIN)

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = Dial(ctx, path, oneRing)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	dialed := make(chan error)
	go func() {
		c, err := Dial(testContext(t), path, oneRing)
		if err == nil {
			err = c.Close()
		}
		dialed <- err
	}()
	for range 2 { // first, and then the one that waited
		client, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		require.NoError(t, err)
		require.NoError(t, unix.Sendmsg(client, goodReply(oneRing), three, nil, 0))
		defer unix.Close(client)
	}
	require.NoError(t, <-dialed)
}

// Closing a file can wait for its file system, so files are closed on the side.
func TestCloseReceivedClosesAll(t *testing.T) {
	before := proctest.Take()
	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	var pipe [2]int
	require.NoError(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	memfd.Discard(fd, pipe[0], pipe[1])
	require.Eventually(t, func() bool { return proctest.Take().FDs == before.FDs }, patience, time.Millisecond)
}
