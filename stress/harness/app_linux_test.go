package harness

import (
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
)

func TestRunOfRealBlocks(t *testing.T) {
	o := runApp(t, "tiny", "-duration", "20ms", "-json", "-")
	requireStatus(t, 0, o)
	s := requireSchema(t, []byte(o.out))
	require.Equal(t, []int{64, 4096}, s.Params.Sizes)
	require.Equal(t, 4, s.Params.Rounds)
	require.Zero(t, *s.Params.Rate)
	var names []string
	for _, a := range s.Arms {
		names = append(names, a.Name)
		require.Positive(t, *a.MsgsPerS)
		require.Positive(t, *a.ConsumerCPU)
		require.Equal(t, a.Name == "pipe", a.ProducerCPU != nil)
		require.Equal(t, a.Name == "pipe", a.Waits != nil)
		require.Equal(t, a.Name != "pipe", a.Latency != nil)
		require.Zero(t, *a.Lost+*a.Duplicated+*a.Reordered)
	}
	require.Equal(t, []string{"loop", "half", "pipe", "loop", "half"}, names)
	require.Equal(t, 1000., s.Arms[0].Latency[0][1])
	require.Len(t, s.Skipped, 1)
	require.Equal(t, 4096, s.Skipped[0].Size)
	require.Empty(t, s.Failed)

	require.Contains(t, o.log, "tiny 64 B loop: messages ")
	require.Contains(t, o.log, "tiny 4 KiB pipe: sits out: needs small messages")
	require.Contains(t, o.log, "loop than pipe")
	requireNothingOfThisMachine(t, o.out)
}

// Results are committed and shown around.
func requireNothingOfThisMachine(t *testing.T, text string) {
	t.Helper()
	name, err := os.Hostname()
	require.NoError(t, err)
	dir, err := os.Getwd()
	require.NoError(t, err)
	require.NotContains(t, text, `"`+name+`"`)
	require.NotContains(t, text, dir)
	require.NotContains(t, text, os.TempDir())
}

func TestFloors(t *testing.T) {
	f, err := measureFloors(t.Context())
	require.NoError(t, err)
	cpus, err := allowedCPUs()
	require.NoError(t, err)
	for _, floor := range allFloors {
		if len(cpus) < 2 && strings.ContainsAny(floor.key[:1], "cwt") {
			require.NotContains(t, f, floor.key, "needs two CPUs")
			continue
		}
		require.Positive(t, f[floor.key], "%s", floor.key)
	}
}

func TestJSONFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "result.json")
	o := runApp(t, "tiny", "-quick", "-json", file)
	requireStatus(t, 0, o)
	require.Contains(t, o.out, "tiny, 128 B a message")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	s := requireSchema(t, text)
	require.True(t, s.Params.Quick)
	require.Equal(t, 1, s.Params.Rings)

	o = runApp(t, "tiny", "-json", filepath.Join(file, "below"))
	requireStatus(t, 1, o)
	require.Contains(t, o.log, "-json")
	require.NotContains(t, o.log, "blocks", "before the run, not after it")
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"-h"}, {"--help"}, {"help"}} {
		o := runApp(t, args...)
		requireStatus(t, 0, o)
		require.Contains(t, o.out, "One process writes, another reads.\n")
		require.Empty(t, o.log)
	}
	for _, args := range [][]string{{"tiny", "-h"}, {"tiny", "-quick", "--help"}} {
		o := runApp(t, args...)
		requireStatus(t, 0, o)
		require.Contains(t, o.out, "usage: stress tiny [flags]")
		require.Empty(t, o.log)
	}
}

func TestUsageErrors(t *testing.T) {
	for want, args := range map[string][]string{
		"stress: a scenario is needed: tiny, bad, held\nstress -h tells more.\n":                nil,
		"stress: no scenario \"what\"; there are tiny, bad, held\nstress -h tells more.\n":      {"what"},
		"stress: no scenario \"-quick\"; there are tiny, bad, held\nstress -h tells more.\n":    {"-quick"},
		"stress: -arms: no arm \"x\"; there are loop, half, pipe\nstress tiny -h tells more.\n": {"tiny", "-arms", "x"},
		"stress: scenario bad has no -rings\nstress bad -h tells more.\n":                       {"bad", "-rings", "3"},
	} {
		require.Equal(t, outcome{status: 2, log: want}, runApp(t, args...))
	}
}

func TestWrongArmsFailTheRun(t *testing.T) {
	wants := map[string]string{
		"loses":            "messages lost, 0 duplicated",
		"doubles":          "0 messages lost",
		"reorders":         "0 duplicated",
		"fails":            "failed: harness: its process: exit status 1\n  something to know\n  this went wrong",
		"panics":           "failed: harness: its process: exit status 2\n  panic: a mistake",
		"measures-nothing": "failed: harness: the block measured nothing",
		"wrong-metric":     `failed: harness: unknown metric "beauty"`,
		"silent":           "failed: harness: its process: exit status 1\n  harness: no message came in the window",
		"peer-fails":       "failed: harness: its process: exit status 1\n  peer \"fails\": the peer has had enough",
		"no-peer":          "failed: harness: its process: exit status 1\n  harness: no peer \"nobody\"",
	}
	arms := slices.Sorted(maps.Keys(wants))
	o := runApp(t, "bad", "-arms", "good,"+strings.Join(arms, ","))
	requireStatus(t, 1, o)
	for arm, want := range wants {
		_, after, found := strings.Cut(o.log, "stress: "+arm+" at 64 B")
		require.True(t, found, "%s: %s", arm, o.log)
		said, _, _ := strings.Cut(after, "\nstress: ")
		require.Contains(t, said, want)
		require.Equal(t, strings.Contains(want, "failed"), strings.Contains(o.out, "\n"+arm+" failed at 64 B"), "%s", arm)
	}
	require.Contains(t, o.out, "\ngood ", "the others are measured")
	require.NotContains(t, o.out, "Nothing lost")
}

func TestLossAloneFailsTheRun(t *testing.T) {
	o := runApp(t, "bad", "-arms", "loses", "-json", "-")
	requireStatus(t, 1, o)
	require.Positive(t, *requireSchema(t, []byte(o.out)).Arms[0].Lost)
}

func TestBlocksThatHangFailTheRun(t *testing.T) {
	for _, arm := range []string{"hangs", "deaf"} {
		o := runPatient(t, 0, "bad", "-arms", arm)
		requireStatus(t, 1, o)
		require.Contains(t, o.log, "stress: "+arm+" at 64 B failed: harness: not done after")
	}
}

// heldApp runs the program in a process of its own until its block and the
// peer of that are there, and returns their connections.
func heldApp(t *testing.T) (*proctest.Process, [2]net.Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	t.Setenv(socketVariable, path)
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer l.Close()
	p := proctest.Start(t, "app", nil, "held")
	var conns [2]net.Conn
	for i := range conns {
		conns[i], err = l.Accept()
		require.NoError(t, err)
		t.Cleanup(func() { conns[i].Close() })
	}
	return p, conns
}

func requireHungUp(t *testing.T, conns [2]net.Conn) {
	t.Helper()
	for _, c := range conns {
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	}
}

func TestCtrlCEndsBlocksAndPeers(t *testing.T) {
	p, conns := heldApp(t)
	require.NoError(t, p.Signal(os.Interrupt))
	requireHungUp(t, conns)
	require.ErrorContains(t, p.Wait(), "exit status 1")
}

func TestKillEndsBlocksAndPeers(t *testing.T) {
	p, conns := heldApp(t)
	require.NoError(t, p.Signal(syscall.SIGKILL))
	requireHungUp(t, conns)
	require.Error(t, p.Wait())
}
