//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/panjf2000/ants/v2"
	"github.com/panjf2000/gnet/v2/pkg/pool/goroutine"
	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
)

// The server starts os.Executable() as its clients: here that is this binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-connect" {
		main()
		return
	}
	// A pool for gnet like its own, whose idle goroutines end after a moment instead of
	// 10 s: none of them is to be taken for a leak.
	old := goroutine.DefaultWorkerPool
	pool, err := ants.NewPool(old.Cap(), ants.WithNonblocking(true), ants.WithExpiryDuration(50*time.Millisecond))
	if err != nil {
		panic(err)
	}
	goroutine.DefaultWorkerPool = pool
	old.Release()
	proctest.Main(m, nil)
}

func testServer(t *testing.T) *server {
	srv, err := start(filepath.Join(t.TempDir(), "count"), "127.0.0.1:0")
	require.NoError(t, err)
	return srv
}

func (s *server) address(via string) string {
	if via == "tcp" {
		return s.tcp
	}
	return s.path
}

// client starts a client process.
func client(t *testing.T, srv *server, via string, count int) *exec.Cmd {
	exe, err := os.Executable()
	require.NoError(t, err)
	c := exec.Command(exe, "-connect", srv.address(via), "-via", via, "-count", strconv.Itoa(count))
	c.Stderr = os.Stderr
	return c
}

func TestProcesses(t *testing.T) {
	srv := testServer(t)
	killed := client(t, srv, "ring", 1<<40)
	require.NoError(t, killed.Start())
	var clients []*exec.Cmd
	for _, via := range []string{"tcp", "ring", "unix", "ring"} {
		c := client(t, srv, via, 500)
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
	require.NoError(t, srv.stop())
	require.NoFileExists(t, srv.path)
	require.Equal(t, 500, srv.asked["tcp"])
	require.Equal(t, 500, srv.asked["unix"])
	require.GreaterOrEqual(t, srv.asked["ring"], 1000)
	var total uint64
	for _, n := range srv.counts {
		total += n
	}
	require.EqualValues(t, srv.asked["tcp"]+srv.asked["unix"]+srv.asked["ring"], total)
}

func TestRun(t *testing.T) {
	s, err := parse([]string{"-count", "100"})
	require.NoError(t, err)
	require.NoError(t, run(t.Context(), s))
}

// All ways lead to one table.
func TestOneTable(t *testing.T) {
	srv := testServer(t)
	want := uint64(0)
	var callers []caller
	for _, via := range []string{"tcp", "unix", "ring"} {
		c, err := dialers[via](t.Context(), srv.address(via))
		require.NoError(t, err)
		callers = append(callers, c)
	}
	for range 10 {
		for _, c := range callers {
			want++
			got, err := c.call(42)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
	require.NoError(t, srv.stop())
	for _, c := range callers { // in the middle of it
		_, err := c.call(42)
		require.Error(t, err)
		require.NoError(t, c.close())
	}
}

// A client that asks and does not listen is dropped, and the next one is served.
func TestSlowClientIsDropped(t *testing.T) {
	srv := testServer(t)
	c, err := dialRing(t.Context(), srv.path)
	require.NoError(t, err)
	slow := c.(*rings)
	for err == nil {
		_, err = slow.tx.SendContext(t.Context(), make([]uint64, batch))
	}
	require.NoError(t, slow.close())
	require.NoError(t, request(t.Context(), settings{connect: srv.path, via: "ring", count: 10}))
	require.NoError(t, srv.stop())
}

func TestNoAddress(t *testing.T) {
	_, err := start(filepath.Join(t.TempDir(), "no", "count"), "127.0.0.1:0")
	require.Error(t, err)
	_, err = dialSocket(t.Context(), "unix", filepath.Join(t.TempDir(), "nobody"))
	require.True(t, errors.Is(err, os.ErrNotExist))
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"what"}, {"-listen", "a", "-connect", "b"}, {"-connect", "a", "-via", "pigeon"}, {"-count", "0"},
	} {
		_, err := parse(args)
		require.Error(t, err, "%v", args)
	}
}
