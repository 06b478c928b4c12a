package handoff

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring"
)

func init() {
	roles["hang"] = func(args []string) int { return report(hangRole(args[0], args[1])) }
	roles["fork"] = func(args []string) int { return report(forkRole(args[0])) }
	roles["hold"] = func([]string) int { return report(readUntilEOF(os.Stdin)) }
}

// hangRole takes its ring, sends a few items if it is a sender, and hangs until it
// is killed.
func hangRole(path, direction string) error {
	req := oneRing
	if direction == In.String() {
		req.Direction = In
	}
	conn, err := Dial(context.Background(), path, req)
	if err != nil {
		return err
	}
	if req.Direction == Out {
		h, err := conn.Out()
		if err != nil {
			return err
		}
		tx, err := sharedring.OpenSender[uint64](h)
		if err != nil {
			return err
		}
		if _, err := tx.SendContext(context.Background(), []uint64{0, 1, 2}); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	return readUntilEOF(os.Stdin)
}

// forkRole leaves its lifeline to a child that lives until descriptor 3 ends.
func forkRole(path string) error {
	conn, err := Dial(context.Background(), path, oneRing)
	if err != nil {
		return err
	}
	lifeline, err := conn.sock.File()
	if err != nil {
		return err
	}
	child, err := proctest.Command("hold")
	if err != nil {
		return err
	}
	child.Stdin = os.NewFile(3, "until")
	child.ExtraFiles = []*os.File{lifeline}
	if err := child.Start(); err != nil {
		return err
	}
	fmt.Println("ready")
	return readUntilEOF(os.Stdin)
}

func readUntilEOF(f *os.File) error {
	var b [1]byte
	for {
		if n, _ := f.Read(b[:]); n == 0 {
			return nil
		}
	}
}

func requireReady(t *testing.T, p *proctest.Process) {
	line, err := p.Stdout.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
}

// connReadable waits as an event loop would.
func connReadable(t *testing.T, fds ...int) {
	var polls []unix.PollFd
	for _, fd := range fds {
		if fd >= 0 {
			polls = append(polls, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
	}
	for {
		n, err := unix.Poll(polls, int(patience.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		require.NoError(t, err)
		require.Positive(t, n)
		return
	}
}

func TestCleanEnd(t *testing.T) {
	server, client := pair(t, oneRing)
	for _, c := range []*Conn{server, client} {
		ended, err := c.Check()
		require.False(t, ended)
		require.NoError(t, err)
	}
	require.NoError(t, client.Close())
	connReadable(t, server.FD())
	for range 2 { // the answer stays
		ended, err := server.Check()
		require.True(t, ended)
		require.NoError(t, err)
		require.NoError(t, server.Wait(testContext(t)))
	}
	require.NoError(t, server.Close())
	require.NoError(t, server.Wait(testContext(t)), "also after Close")
}

func TestServerEndsClean(t *testing.T) {
	server, client := pair(t, oneRing)
	require.NoError(t, server.Close())
	require.NoError(t, client.Wait(testContext(t)))
}

func TestBothEndAtOnce(t *testing.T) {
	server, client := pair(t, oneRing)
	waited := make(chan error, 2)
	for _, c := range []*Conn{server, client} {
		go func() { waited <- c.Wait(context.Background()) }()
	}
	closed := make(chan error, 2)
	for _, c := range []*Conn{server, client} {
		go func() { closed <- c.Close() }()
	}
	for range 2 {
		require.NoError(t, <-closed)
		if err := <-waited; err != nil { // its own Close came first
			require.ErrorIs(t, err, sharedring.ErrClosed)
		}
	}
}

func TestFault43KilledSenderPrefixDelivered(t *testing.T) {
	path := socketPath(t)
	l := listen(t, path, Config{})
	p := proctest.Start(t, "hang", nil, path, "out")
	conn := accept(t, l)
	rx := openIn(t, conn)
	requireReady(t, p)
	require.NoError(t, p.Kill())

	connReadable(t, conn.FD(), conn.PidFD())
	ended, err := conn.Check()
	require.True(t, ended)
	require.ErrorIs(t, err, sharedring.ErrPeerGone)
	require.ErrorContains(t, err, fmt.Sprintf("pid %d", p.Pid()))

	n, err := receiveAll(testContext(t), conn, rx)
	require.ErrorIs(t, err, sharedring.ErrPeerGone)
	require.EqualValues(t, 3, n)
}

func TestFault44KilledReceiverEndsBlockedSend(t *testing.T) {
	ctx := testContext(t)
	path := socketPath(t)
	l := listen(t, path, Config{})
	p := proctest.Start(t, "hang", nil, path, "in")
	conn := accept(t, l)
	tx := openOut(t, conn)
	requireReady(t, p)
	blocked := make(chan error, 1)
	go func() {
		_, err := tx.SendContext(ctx, make([]uint64, tx.Len()+1))
		blocked <- err
	}()
	require.NoError(t, p.Kill())
	tx.HangUp(conn.Wait(ctx))
	require.ErrorIs(t, <-blocked, sharedring.ErrPeerGone)
}

func TestFault45ForkedChildHoldsLifeline(t *testing.T) {
	path := socketPath(t)
	l := listen(t, path, Config{})
	until, end, err := os.Pipe()
	require.NoError(t, err)
	defer end.Close() // ends the child
	p := proctest.Start(t, "fork", []*os.File{until}, path)
	require.NoError(t, until.Close())
	conn := accept(t, l)
	require.GreaterOrEqual(t, conn.PidFD(), 0, "the kernel has pidfds")
	requireReady(t, p)
	waited := make(chan error, 1)
	go func() { waited <- conn.Wait(testContext(t)) }()

	require.NoError(t, p.Kill())
	connReadable(t, conn.PidFD())
	ended, err := conn.Check()
	require.True(t, ended)
	require.ErrorIs(t, err, sharedring.ErrPeerGone)
	require.ErrorIs(t, <-waited, sharedring.ErrPeerGone)
	_, err = receiveByte(conn.FD())
	require.ErrorIs(t, err, unix.EAGAIN, "the child still holds the lifeline")
}

func TestFarewellBeforeDeathIsClean(t *testing.T) {
	server, client := pair(t, oneRing)
	require.NoError(t, client.Close())
	// As if the client's process had died right after: both descriptors fire.
	dead, err := unix.Eventfd(1, unix.EFD_CLOEXEC)
	require.NoError(t, err)
	require.NoError(t, closeDescriptor(server.pidfd))
	server.pidfd = dead
	ended, err := server.Check()
	require.True(t, ended)
	require.NoError(t, err)
}

func TestEndWithoutFarewell(t *testing.T) {
	server, client := pair(t, oneRing)
	require.NoError(t, client.sock.CloseWrite())
	require.ErrorIs(t, server.Wait(testContext(t)), sharedring.ErrPeerGone)
}

func TestOtherByteOnLifeline(t *testing.T) {
	server, client := pair(t, oneRing)
	require.NoError(t, sendByte(client.fd, 'x'))
	err := server.Wait(testContext(t))
	require.ErrorIs(t, err, ErrProtocol)
	require.NotErrorIs(t, err, sharedring.ErrPeerGone)
}

func TestDescriptorsOnLifeline(t *testing.T) {
	server, client := pair(t, oneRing)
	before := proctest.Take()
	// Newer kernels do not let them through. Here they do, as older ones.
	_ = unix.SetsockoptInt(server.fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 1)
	_, _, err := client.sock.WriteMsgUnix([]byte{farewell}, unix.UnixRights(someFDs(t, 2)...), nil)
	require.NoError(t, err)
	err = server.Wait(testContext(t))
	require.ErrorIs(t, err, ErrProtocol)
	require.NotErrorIs(t, err, sharedring.ErrPeerGone)
	require.Equal(t, before.FDs+2, proctest.Take().FDs, "the one sent here and the epoll of Wait; none was taken")
}

func TestWaitEndsWithContext(t *testing.T) {
	server, client := pair(t, oneRing)
	ctx, cancel := context.WithCancel(context.Background())
	waited := make(chan error)
	go func() { waited <- server.Wait(ctx) }()
	cancel()
	require.ErrorIs(t, <-waited, context.Canceled)
	require.ErrorIs(t, server.Wait(ctx), context.Canceled, "done before it began")

	for range 2 { // the first cancellation is forgotten
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		require.ErrorIs(t, server.Wait(ctx), context.DeadlineExceeded)
		cancel()
	}
	require.NoError(t, client.Close())
	require.NoError(t, server.Wait(context.Background()))
}

// The deadline of the handshake is not one of the lifeline.
func TestWaitOutlivesHandshakeDeadline(t *testing.T) {
	path := socketPath(t)
	l := listen(t, path, Config{Timeout: 20 * time.Millisecond})
	client, err := Dial(testContext(t), path, oneRing)
	for errors.Is(err, ErrRefused) { // too slow for this deadline
		client, err = Dial(testContext(t), path, oneRing)
	}
	require.NoError(t, err)
	defer client.Close()
	server := accept(t, l)
	require.NoError(t, closeDescriptor(server.pidfd))
	server.pidfd = -1 // so that Wait looks at the lifeline alone
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, server.Wait(ctx), context.DeadlineExceeded)
}

func TestWaitEndsWithClose(t *testing.T) {
	for range 20 { // before, while and after the Wait begins
		server, _ := pair(t, oneRing)
		waited := make(chan error)
		go func() { waited <- server.Wait(context.Background()) }()
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-waited, sharedring.ErrClosed)
	}
}

func TestManyWaits(t *testing.T) {
	server, client := pair(t, oneRing)
	waited := make(chan error)
	for range 5 {
		go func() { waited <- server.Wait(context.Background()) }()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, server.Wait(ctx), context.Canceled, "while others wait")
	require.NoError(t, client.Close())
	for range 5 {
		require.NoError(t, <-waited)
	}
}

// A signal interrupts poll(2) even when it does not wait; that was once taken for
// the death of a peer.
func TestSignalsAreNotTakenForDeath(t *testing.T) {
	server, _ := pair(t, oneRing)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, thread := os.Getpid(), unix.Gettid()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				// The runtime's own signal for goroutines that run too long. It
				// expects strays.
				_ = unix.Tgkill(pid, thread, unix.SIGURG)
			}
		}
	}()
	defer func() {
		close(stop)
		<-done
	}()
	for range 2_000 {
		ended, err := server.Check()
		require.NoError(t, err)
		require.False(t, ended)
	}
}
