//go:build linux

package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
)

// The server starts os.Executable() as its producers: here that is this binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-connect" {
		main()
		return
	}
	proctest.Main(m, nil)
}

func runWith(t *testing.T, ctx context.Context, args ...string) result {
	t.Helper()
	file := filepath.Join(t.TempDir(), "result.json")
	s, err := parse(append(args, "-json", file))
	require.NoError(t, err)
	require.NoError(t, run(ctx, s))
	return readResult(t, file)
}

func readResult(t *testing.T, file string) result {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	var r result
	require.NoError(t, json.Unmarshal(b, &r))
	return r
}

func TestFanIn(t *testing.T) {
	for _, args := range [][]string{
		{"-producers", "3", "-duration", "200ms"},
		{"-producers", "2", "-rings", "25", "-duration", "200ms", "-size", "0"},
		{"-producers", "1", "-duration", "200ms", "-size", "200000"}, // larger than the ring
		{"-producers", "2", "-duration", "1ns"},
	} {
		r := runWith(t, t.Context(), args...)
		require.Zero(t, r.Lost+r.Duplicated+r.Reordered)
		require.Zero(t, r.Crashed)
		if !slices.Contains(args, "1ns") {
			require.NotZero(t, r.Messages)
			require.NotZero(t, r.P50)
			require.GreaterOrEqual(t, r.P99, r.P50)
		}
	}
}

func TestInterruptEndsCleanly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	r := runWith(t, ctx, "-producers", "2", "-duration", "1h")
	require.Zero(t, r.Lost+r.Duplicated+r.Reordered)
	require.Zero(t, r.Crashed)
}

func TestTwoHalves(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "socket"), filepath.Join(dir, "result.json")
	s, err := parse([]string{"-listen", path, "-json", file})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, s) }()
	for !exists(path) {
		require.NoError(t, t.Context().Err())
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	out, err := exec.Command(exe, "-connect", path, "-duration", "100ms", "-rings", "2").CombinedOutput()
	require.NoError(t, err, "%s", out)

	killed := exec.Command(exe, "-connect", path, "-duration", "1h")
	require.NoError(t, killed.Start())
	<-time.After(50 * time.Millisecond) // anywhere in its life
	require.NoError(t, killed.Process.Kill())
	require.Error(t, killed.Wait())
	cancel()
	require.NoError(t, <-done)
	r := readResult(t, file)
	require.NotZero(t, r.Messages)
	require.Zero(t, r.Lost+r.Duplicated+r.Reordered)
	require.LessOrEqual(t, r.Crashed, 1)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"what"}, {"-producers", "0"}, {"-rings", "-1"}, {"-producers", "4", "-rings", "3"}, {"-size", "-1"},
		{"-size", "2000000"}, {"-duration", "0s"}, {"-duration", "-1s"}, {"-listen", "a", "-connect", "b"},
		{"-connect", "a", "-producers", "2"}, {"-connect", "a", "-json", "-"},
	} {
		_, err := parse(args)
		require.Error(t, err, "%v", args)
	}
}

func TestTrack(t *testing.T) {
	for _, test := range []struct {
		seen []uint64
		want counts
	}{
		{[]uint64{0, 1, 2, 3}, counts{}},
		{[]uint64{0, 1, 3}, counts{lost: 1}},
		{[]uint64{0, 2, 1, 3}, counts{reordered: 1}},
		{[]uint64{0, 1, 1, 2}, counts{duplicated: 1}},
		{[]uint64{2, 0, 0, 5}, counts{lost: 3, reordered: 1, duplicated: 1}},
	} {
		var tr track
		for _, n := range test.seen {
			tr.see(n)
		}
		require.Equal(t, test.want, tr.counts, "%v", test.seen)
	}
	var tr track
	tr.see(0)
	tr.skipTo(3)
	require.Equal(t, counts{lost: 2}, tr.counts, "what the last record says was sent")
}
