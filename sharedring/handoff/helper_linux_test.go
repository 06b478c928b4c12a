package handoff

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
)

// patience ends a test that hangs; nothing is measured with it.
const patience = time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// socketPath is short enough for a socket address, which that of t.TempDir may not be.
func socketPath(t *testing.T) string {
	dir, err := os.MkdirTemp("", "handoff")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// abstractName is open to every uid.
func abstractName(t *testing.T) string {
	return fmt.Sprintf("@handoff-test-%d-%s", os.Getpid(), t.Name())
}

func listen(t *testing.T, path string, cfg Config) *Listener {
	l, err := Listen(path, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func dial(t *testing.T, path string, req Request) *Conn {
	c, err := Dial(testContext(t), path, req)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func accept(t *testing.T, l *Listener) *Conn {
	c, err := l.Accept(testContext(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

var oneRing = Request{ItemSize: 8, Capacity: 16, Direction: Out}

// pair is both sides of one connection in this process.
func pair(t *testing.T, req Request) (server, client *Conn) {
	path := socketPath(t)
	l := listen(t, path, Config{})
	client = dial(t, path, req)
	return accept(t, l), client
}

// rawClient connects without the package.
func rawClient(t *testing.T, path string) *net.UnixConn {
	c, err := net.Dial("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	return c.(*net.UnixConn)
}

// readRefusal reads a reply that refuses, and the end of file after it.
func readRefusal(t *testing.T, c *net.UnixConn) (Status, Reason) {
	var b [replySize + 1]byte
	n, oobn, flags, _, err := c.ReadMsgUnix(b[:], make([]byte, 1024))
	require.NoError(t, err)
	require.Equal(t, replySize, n)
	require.Zero(t, oobn, "a refusal carries no descriptors")
	require.Zero(t, flags&unix.MSG_CTRUNC)
	require.Equal(t, ReasonNone, checkHeader(b[:], kindReply))
	require.Equal(t, make([]byte, 36), b[12:48])
	n, err = c.Read(b[:]) // end of file, or reset if the server left bytes unread
	require.Zero(t, n)
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	return Status(native.Uint16(b[8:])), Reason(native.Uint16(b[10:]))
}

// someFD is a descriptor to send to others, repeated n times.
func someFDs(t *testing.T, n int) []int {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	fds := make([]int, n)
	for i := range fds {
		fds[i] = fd
	}
	return fds
}

// closeAndCount closes the listener, which waits for its handshakes, and checks
// that nothing is open beyond what was before it was made.
func closeAndCount(t *testing.T, l *Listener, before proctest.Census) {
	require.NoError(t, l.Close())
	require.Equal(t, before.FDs, proctest.Take().FDs)
}

// report is for roles: it tells what went wrong and returns the exit code.
func report(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}
