package handoff

import (
	"errors"
	"net"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring"
)

// granted has a client dial a plain unix listener, and answers with g.
func granted(t *testing.T, g *Granter, req Request) (grant *Grant, client *Conn, grantErr, dialErr error) {
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	done := make(chan bool)
	go func() {
		defer close(done)
		client, dialErr = Dial(testContext(t), path, req)
	}()
	sock, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { sock.Close() })
	b := make([]byte, RequestSize)
	_, err = readAll(sock.(*net.UnixConn), b)
	require.NoError(t, err)
	require.True(t, IsRequest(b))
	require.NoError(t, onSocket(sock.(*net.UnixConn), func(fd int) error {
		grant, grantErr = g.Grant(fd, b)
		return nil
	}))
	<-done
	return grant, client, grantErr, dialErr
}

func TestGranterGivesRings(t *testing.T) {
	for _, sockets := range []bool{false, true} {
		before, ctx := proctest.Take(), testContext(t)
		g := NewGranter(Config{MaxRingsPerUID: 2, SocketDoorbells: sockets})
		grant, client, err, dialErr := granted(t, g, Request{ItemSize: 8, Capacity: 16, Direction: Duplex})
		require.NoError(t, err)
		require.NoError(t, dialErr)
		require.Equal(t, Duplex, grant.Request().Direction)
		require.NotZero(t, grant.Peer().PID)

		in, err := grant.In()
		require.NoError(t, err)
		_, err = grant.In()
		require.ErrorIs(t, err, ErrNoRing)
		rx, err := sharedring.OpenReceiver[uint64](in)
		require.NoError(t, err)
		out, err := client.Out()
		require.NoError(t, err)
		tx, err := sharedring.OpenSender[uint64](out)
		require.NoError(t, err)
		_, err = tx.Send([]uint64{1, 2, 3})
		require.NoError(t, err)
		got := make([]uint64, 4)
		n, err := rx.Receive(got)
		require.NoError(t, err)
		require.Equal(t, []uint64{1, 2, 3}, got[:n])

		_, _, err, dialErr = granted(t, g, oneRing)
		require.ErrorIs(t, err, ErrQuota)
		require.ErrorIs(t, dialErr, ErrQuota)
		for _, c := range []interface{ Close() error }{rx, tx, client, grant, grant} {
			require.NoError(t, c.Close())
		}
		grant, client, err, dialErr = granted(t, g, oneRing) // the quota is free again
		require.NoError(t, errors.Join(err, dialErr, client.Close(), grant.Close()))
		for proctest.Take().FDs > before.FDs+6 { // but for three pairs of sockets
			require.NoError(t, ctx.Err())
			runtime.Gosched() // sockets of others may be closed a little later
		}
	}
}

// connected is one end of a pair of sockets.
func connected(t *testing.T) int {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, unix.Close(fds[0]))
		require.NoError(t, unix.Close(fds[1]))
	})
	return fds[0]
}

func TestGranterRefuses(t *testing.T) {
	_, _, err, dialErr := granted(t, NewGranter(Config{Allow: func(Peer) error { return errors.New("no") }}), oneRing)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorIs(t, dialErr, ErrRefused)

	g := NewGranter(Config{})
	_, err = g.Grant(-1, make([]byte, RequestSize))
	require.ErrorIs(t, err, ErrRefused)

	a := connected(t)
	_, err = g.Grant(a, make([]byte, RequestSize-1))
	require.ErrorIs(t, err, ErrProtocol)
	_, err = g.Grant(a, make([]byte, RequestSize))
	require.ErrorIs(t, err, ErrProtocol)
	require.False(t, IsRequest(nil))
	require.False(t, IsRequest([]byte("GET ")))
}

func TestAcceptSeesTheRequest(t *testing.T) {
	accept := func(_ Peer, req Request) error {
		if req.ItemSize != 8 {
			return errors.New("items of 8 bytes, please")
		}
		return nil
	}
	path := socketPath(t)
	listen(t, path, Config{Accept: accept})
	_, err := Dial(testContext(t), path, Request{ItemSize: 9, Capacity: 1, Direction: Out})
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, RefusedError{StatusDenied, ReasonRequest}, *refused)
	require.EqualError(t, refused, "refused by the server: denied (no such request is served)")
	require.ErrorIs(t, err, ErrRefused)
	c := dial(t, path, oneRing)
	require.NoError(t, c.Close())
}
