//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
)

// The server starts os.Executable() as its clients: here that is this binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-connect" {
		main()
		return
	}
	proctest.Main(m, nil)
}

// start runs a server until stop, which is for after the clients.
func start(t *testing.T) (srv *server, path string, stop func()) {
	path = filepath.Join(t.TempDir(), "echo")
	srv, err := newServer(path)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.serve(ctx) }()
	return srv, path, func() {
		cancel()
		require.NoError(t, <-served)
		require.NoFileExists(t, path)
	}
}

// client starts a client process.
func client(t *testing.T, path, via string, count int) *exec.Cmd {
	exe, err := os.Executable()
	require.NoError(t, err)
	c := exec.Command(exe, "-connect", path, "-via", via, "-count", strconv.Itoa(count))
	c.Stderr = os.Stderr
	return c
}

func TestProcesses(t *testing.T) {
	srv, path, stop := start(t)
	killed := client(t, path, "ring", 1<<40)
	out, err := killed.StdoutPipe()
	require.NoError(t, err)
	defer out.Close()
	require.NoError(t, killed.Start())
	var clients []*exec.Cmd
	for _, via := range []string{"socket", "ring", "ring", "socket"} {
		c := client(t, path, via, 500)
		require.NoError(t, c.Start())
		clients = append(clients, c)
	}
	for i, c := range clients {
		require.NoError(t, c.Wait())
		if i == 1 {
			require.NoError(t, killed.Process.Kill()) // in the middle of it, most likely
			require.Error(t, killed.Wait())
		}
	}
	stop()
	require.Equal(t, 1000, srv.bySocket)
	require.GreaterOrEqual(t, srv.byRing, 1000)
}

func TestRun(t *testing.T) {
	s, err := parse([]string{"-count", "100"})
	require.NoError(t, err)
	require.NoError(t, run(t.Context(), s))
}

func TestTwoHalves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "echo")
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- run(ctx, settings{listen: path}) }()
	for _, err := os.Stat(ringPath(path)); err != nil; _, err = os.Stat(ringPath(path)) {
		require.NoError(t, t.Context().Err())
	}
	for _, via := range []string{"socket", "ring"} {
		require.NoError(t, run(ctx, settings{connect: path, via: via, count: 10}))
	}
	cancel()
	require.NoError(t, <-served)
}

// A client that asks and does not listen is dropped, and the next one is served.
func TestSlowClientIsDropped(t *testing.T) {
	srv, path, stop := start(t)
	for _, dial := range []func(context.Context, string) (io.ReadWriteCloser, error){dialSocket, dialRing} {
		conn, err := dial(t.Context(), path)
		require.NoError(t, err)
		for err == nil {
			_, err = conn.Write(make([]byte, 1000))
		}
		require.NoError(t, conn.Close())
		conn, err = dial(t.Context(), path)
		require.NoError(t, err)
		require.NoError(t, errors.Join(roundTrip(conn, 0), conn.Close()))
	}
	stop()
	require.Positive(t, srv.bySocket)
	require.Positive(t, srv.byRing)
}

// The server ends with clients that are in the middle of it.
func TestServerEnds(t *testing.T) {
	_, path, stop := start(t)
	var conns []io.ReadWriteCloser
	for _, dial := range []func(context.Context, string) (io.ReadWriteCloser, error){dialSocket, dialRing} {
		conn, err := dial(t.Context(), path)
		require.NoError(t, err)
		require.NoError(t, roundTrip(conn, 0))
		conns = append(conns, conn)
	}
	stop()
	for _, conn := range conns {
		_, err := conn.Read(make([]byte, 1))
		require.Error(t, err)
		require.NoError(t, conn.Close())
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"what"}, {"-listen", "a", "-connect", "b"}, {"-connect", "a", "-via", "pigeon"}, {"-count", "0"},
	} {
		_, err := parse(args)
		require.Error(t, err, "%v", args)
	}
}
