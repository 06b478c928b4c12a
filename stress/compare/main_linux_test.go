package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/stress/harness"
	"github.com/shmloop/shmloop/stress/scenario"
)

// The program that tests run, its blocks and its peers are this binary.
func TestMain(m *testing.M) {
	// The race detector would hold up each exit for a second.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	run := func([]string) int {
		all := peers()
		all[liarPeer] = lie
		harness.Main("compare", append(scenarios(), liars()), all)
		return 0
	}
	if harness.IsChild() {
		run(nil)
	}
	proctest.Main(m, map[string]proctest.Role{"compare": run})
}

// A document is what these tests look at in the JSON.
type document struct {
	Arms []struct {
		Name                        string
		Size                        int
		Blocks                      int
		Messages                    float64 `json:"msgs_per_s"`
		Lost, Duplicated, Reordered uint64
	}
	Skipped []struct{ Arm, Reason string }
	Failed  []any
}

// compare runs the program in a process of its own.
func compare(t *testing.T, args ...string) (d document, err error) {
	t.Helper()
	p := proctest.Start(t, "compare", nil, append(args, "-json", "-")...)
	out, err := io.ReadAll(p.Stdout)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, &d), "output: %s", out)
	return d, p.Wait()
}

// Every arm of this module runs for some milliseconds, on messages of several sizes.
func TestArms(t *testing.T) {
	for scenario, arms := range map[string]string{
		"echo":     "rust,dbus",
		"stream":   "rust,rust-buffered,go-rust,rust-go,shmipc,shmipc-buffered",
		"pingpong": "shmipc,shmipc-free",
	} {
		for _, size := range []int{8, 100, 300_000} {
			t.Run(fmt.Sprintf("%s/%d", scenario, size), func(t *testing.T) {
				d, err := compare(t, scenario, "-arms", arms, "-size", fmt.Sprint(size), "-duration", "40ms")
				require.NoError(t, err)
				require.Empty(t, d.Failed)
				names := strings.Split(arms, ",")
				for _, s := range d.Skipped {
					names = slices.DeleteFunc(names, func(name string) bool { return name == s.Arm })
					if os.Getenv("SHMLOOP_REQUIRE_PEERS") == "1" {
						require.Contains(t, s.Reason, "fills the buffer", s.Arm)
					}
				}
				require.Len(t, d.Arms, len(names))
				for i, a := range d.Arms {
					require.Equal(t, names[i], a.Name)
					require.Equal(t, size, a.Size, a.Name)
					require.True(t, a.Blocks == 0 || a.Messages > 0, a.Name) // 0: all its time was stolen
				}
			})
		}
	}
}

// Messages without room for a number are refused, by each arm.
func TestTooSmall(t *testing.T) {
	for _, s := range scenarios() {
		for _, a := range s.Arms {
			if strings.Contains("rust rust-buffered go-rust rust-go dbus shmipc shmipc-buffered shmipc-free", a.Name) {
				_, err := a.Block(context.Background(), harness.Params{Size: 7})
				require.ErrorContains(t, err, "no room", "%s %s", s.Name, a.Name)
			}
		}
	}
}

// Where their programs are not installed, arms say so and sit out.
func TestSkips(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	p := harness.Params{Size: 64}
	require.Equal(t, "dbus-daemon is not on PATH", dbusEcho()[0].Skip(p))
	_, err := buildRust()
	require.ErrorIs(t, err, errNoCargo)
}

const liarPeer = "liar"

// liars is a scenario of arms whose sender numbers messages wrong.
func liars() harness.Scenario {
	s := harness.Scenario{Name: "liars", Sizes: []int{64}, Defaults: harness.Params{Duration: 1}}
	for _, name := range []string{"lost", "duplicated", "reordered"} {
		s.Arms = append(s.Arms, harness.Arm{Name: name, Skip: rustMissing,
			Block: func(ctx context.Context, p harness.Params) (harness.Result, error) {
				return rustReceives(ctx, p, func(ctx context.Context, ring []*os.File) (*harness.PeerProcess, error) {
					return harness.StartPeer(ctx, liarPeer, p, ring, name)
				})
			}})
	}
	return s
}

// lie sends until it is asked to stop, and one message in a hundred is wrong.
func lie(ctx context.Context, p harness.Params, args []string) error {
	tx, err := sharedring.OpenSender[byte](sharedring.Handle{
		Capacity: scenario.StreamRing, ItemSize: 1, Memory: 3, EmptySignal: 4, FullSignal: 5,
	}, sharedring.TrustPeer())
	if err != nil {
		return err
	}
	defer tx.Close()
	m := make([]byte, p.Size)
	send := func(seq uint64) {
		binary.NativeEndian.PutUint64(m, seq)
		_, _ = tx.SendContext(ctx, m) // fails at the end
	}
	for seq := uint64(0); ctx.Err() == nil; seq++ {
		switch wrong := seq%100 == 50; {
		case wrong && args[0] == "lost":
		case wrong && args[0] == "duplicated":
			send(seq)
			send(seq)
		case wrong && args[0] == "reordered":
			send(seq + 1)
			send(seq)
			seq++
		default:
			send(seq)
		}
	}
	fmt.Println(0, 0)
	return nil
}

// A receiver in Rust notices what is wrong with the numbers.
func TestRustChecks(t *testing.T) {
	d, err := compare(t, "liars", "-duration", "40ms")
	if len(d.Skipped) > 0 && os.Getenv("SHMLOOP_REQUIRE_PEERS") != "1" {
		t.Skip(d.Skipped[0].Reason)
	}
	require.Error(t, err, "exit status 1")
	require.Len(t, d.Arms, 3)
	for _, a := range d.Arms {
		found := map[string]uint64{"lost": a.Lost, "duplicated": a.Duplicated, "reordered": a.Reordered}
		for name, n := range found {
			if name == a.Name {
				require.Positive(t, n, name)
			} else {
				require.Zero(t, n, "%s in arm %s", name, a.Name)
			}
		}
	}
}
