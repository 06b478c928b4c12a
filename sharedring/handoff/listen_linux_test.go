package handoff

import (
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring"
)

func allowAll(Peer) error { return nil }

func TestSocketFileMode(t *testing.T) {
	paths := []string{socketPath(t), socketPath(t)}
	saved := unix.Umask(0o777) // must not matter
	defer unix.Umask(saved)
	for i, c := range []struct {
		cfg  Config
		want fs.FileMode
	}{
		{Config{}, 0o600},
		{Config{Allow: allowAll}, 0o666},
	} {
		path := paths[i]
		l := listen(t, path, c.cfg)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, fs.ModeSocket|c.want, info.Mode())

		require.NoError(t, l.Close())
		_, err = os.Stat(path)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.NoError(t, l.Close(), "idempotent")
	}
}

// The mode is set before bind(2) makes the file, and not only after.
func TestSocketFileIsNeverWider(t *testing.T) {
	path := socketPath(t)
	saved := unix.Umask(0)
	defer unix.Umask(saved)
	lc := listenConfig(0o600)
	l, err := lc.Listen(context.Background(), "unix", path)
	require.NoError(t, err)
	defer l.Close()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSocket|0o600, info.Mode())
}

func TestListenReplacesStaleSocket(t *testing.T) {
	path := socketPath(t)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	require.NoError(t, err)
	dead.SetUnlinkOnClose(false)
	require.NoError(t, dead.Close())

	l := listen(t, path, Config{})
	client := dial(t, path, oneRing)
	require.NoError(t, client.Close())
	require.NoError(t, accept(t, l).Wait(testContext(t)))
}

func TestListenWherePathIsTaken(t *testing.T) {
	t.Run("by a server", func(t *testing.T) {
		path := socketPath(t)
		l := listen(t, path, Config{})
		_, err := Listen(path, Config{})
		require.ErrorIs(t, err, unix.EADDRINUSE)
		require.ErrorContains(t, err, "another server")
		dial(t, path, oneRing) // unharmed
		accept(t, l)
	})
	t.Run("by an abstract server", func(t *testing.T) {
		path := abstractName(t)
		listen(t, path, Config{})
		_, err := Listen(path, Config{})
		require.ErrorIs(t, err, unix.EADDRINUSE)
	})
	t.Run("by a datagram socket", func(t *testing.T) {
		path := socketPath(t)
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path})
		require.NoError(t, err)
		defer c.Close()
		_, err = Listen(path, Config{})
		require.ErrorIs(t, err, unix.EADDRINUSE)
		require.FileExists(t, path)
	})
	t.Run("by a file", func(t *testing.T) {
		path := socketPath(t)
		require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
		_, err := Listen(path, Config{})
		require.ErrorIs(t, err, unix.EADDRINUSE)
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "precious", string(b))
	})
	t.Run("by a link to a stale socket", func(t *testing.T) {
		path := socketPath(t)
		require.NoError(t, os.Symlink(path+"x", path))
		_, err := Listen(path, Config{})
		require.ErrorIs(t, err, unix.EADDRINUSE)
	})
}

func TestListenBadPath(t *testing.T) {
	before := proctest.Take()
	_, err := Listen("", Config{})
	require.ErrorIs(t, err, unix.EINVAL)
	_, err = Listen(filepath.Join(t.TempDir(), "none", "s"), Config{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	long := make([]byte, 200)
	for i := range long {
		long[i] = 'x'
	}
	_, err = Listen("/tmp/"+string(long), Config{})
	require.ErrorIs(t, err, unix.EINVAL)
	require.Equal(t, before.FDs, proctest.Take().FDs)
}

func TestCloseLeavesSuccessorsFile(t *testing.T) {
	path := socketPath(t)
	old := listen(t, path, Config{})
	require.NoError(t, os.Remove(path))
	listen(t, path, Config{})
	require.NoError(t, old.Close())
	require.FileExists(t, path)
}

func TestAcceptEndsWithContextAndClose(t *testing.T) {
	l := listen(t, socketPath(t), Config{})
	ctx, cancel := context.WithCancel(context.Background())
	accepted := make(chan error)
	accept := func(ctx context.Context) {
		_, err := l.Accept(ctx)
		accepted <- err
	}
	go accept(ctx)
	cancel()
	require.ErrorIs(t, <-accepted, context.Canceled)

	go accept(context.Background())
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-accepted, sharedring.ErrClosed)
}

func TestListenerCloseEndsHandshakes(t *testing.T) {
	path := socketPath(t)
	before := proctest.Take()
	asked := make(chan struct{}, 2)
	l := listen(t, path, Config{Allow: func(Peer) error {
		asked <- struct{}{}
		return nil
	}})
	silent := rawClient(t, path)
	<-asked
	notAccepted, err := Dial(testContext(t), path, oneRing)
	require.NoError(t, err)

	require.NoError(t, l.Close())
	status, reason := readRefusal(t, silent)
	require.Equal(t, StatusUnavailable, status)
	require.Equal(t, ReasonClosing, reason)
	require.NoError(t, silent.Close())
	require.NoError(t, notAccepted.Wait(testContext(t)), "the server said farewell")
	require.NoError(t, notAccepted.Close())
	require.Empty(t, l.quota.used)
	require.Equal(t, before.FDs, proctest.Take().FDs)
}

func TestConnOutlivesListener(t *testing.T) {
	path := socketPath(t)
	l := listen(t, path, Config{})
	client := dial(t, path, oneRing)
	server := accept(t, l)
	require.NoError(t, l.Close())
	ended, err := client.Check()
	require.NoError(t, err)
	require.False(t, ended)
	require.NoError(t, client.Close())
	require.NoError(t, server.Wait(testContext(t)))
}

func TestQuotaRings(t *testing.T) {
	path := socketPath(t)
	l := listen(t, path, Config{MaxRingsPerUID: 3})
	duplex := oneRing
	duplex.Direction = Duplex
	dial(t, path, duplex)
	two := accept(t, l)
	dial(t, path, oneRing)
	accept(t, l)

	_, err := Dial(testContext(t), path, oneRing)
	require.ErrorIs(t, err, ErrQuota)
	require.ErrorIs(t, err, ErrRefused)
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, RefusedError{StatusQuota, ReasonRings}, *refused)

	require.NoError(t, two.Close()) // frees its two
	dial(t, path, duplex)
	accept(t, l)
}

func TestQuotaBytes(t *testing.T) {
	path := socketPath(t)
	l := listen(t, path, Config{MaxBytesPerUID: 2 * pageSize})
	full := Request{ItemSize: 8, Capacity: 600, Direction: In} // two pages
	dial(t, path, full)
	conn := accept(t, l)

	_, err := Dial(testContext(t), path, oneRing)
	require.ErrorIs(t, err, ErrQuota)
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, ReasonBytes, refused.Reason)

	require.NoError(t, conn.Close())
	dial(t, path, full)
	accept(t, l)

	huge := Request{ItemSize: 1, Capacity: 1 << 30, Direction: In}
	_, err = Dial(testContext(t), path, huge)
	require.ErrorIs(t, err, ErrQuota)
}
