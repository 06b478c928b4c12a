package scenario

import (
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/stress/harness"
)

// A document is what these tests look at in the JSON.
type document struct {
	Arms []struct {
		Name                        string
		Size                        int
		Blocks                      int
		Messages                    float64 `json:"msgs_per_s"`
		P50                         float64 `json:"p50_ns"`
		Lost, Duplicated, Reordered uint64
	}
	Failed []any
}

// stress runs the program in a process of its own.
func stress(t *testing.T, args ...string) (d document, err error) {
	t.Helper()
	p := proctest.Start(t, "stress", nil, append(args, "-json", "-")...)
	out, err := io.ReadAll(p.Stdout)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, &d), "output: %s", out)
	return d, p.Wait()
}

// Every arm runs for some milliseconds, on messages of several sizes.
func TestArms(t *testing.T) {
	for _, s := range []harness.Scenario{echo(), stream(), pingpong()} {
		for _, size := range []int{100, 300_000} {
			t.Run(fmt.Sprintf("%s/%d", s.Name, size), func(t *testing.T) {
				d, err := stress(t, s.Name, "-size", fmt.Sprint(size), "-duration", "10ms")
				require.NoError(t, err)
				require.Empty(t, d.Failed)
				ran := 0
				for _, a := range s.Arms {
					if a.Skip == nil || a.Skip(harness.Params{Size: size}) == "" {
						ran++
					}
				}
				require.Len(t, d.Arms, ran)
				for _, a := range d.Arms {
					require.Equal(t, size, a.Size, a.Name)
					if a.Blocks == 0 {
						continue // dropped: others of this machine took its time
					}
					require.Positive(t, a.Messages, a.Name)
					if s.Name == "pingpong" {
						require.Positive(t, a.P50, a.Name)
					}
				}
			})
		}
	}
}

func TestQuick(t *testing.T) {
	for _, s := range []string{"echo", "stream", "pingpong"} {
		t.Run(s, func(t *testing.T) {
			d, err := stress(t, s, "-quick")
			require.NoError(t, err)
			require.Empty(t, d.Failed)
		})
	}
}

// The checks of a stream see what its producer did wrong, in a process of its own.
func TestLossIsNoticed(t *testing.T) {
	d, err := stress(t, "lossy", "-duration", "10ms")
	require.Error(t, err, "exit status 1")
	for _, a := range d.Arms {
		found := map[string]uint64{"lost": a.Lost, "tail": a.Lost, "duplicated": a.Duplicated, "reordered": a.Reordered}
		require.Contains(t, found, a.Name)
		require.Positive(t, found[a.Name], a.Name)
	}
	require.Len(t, d.Arms, 4)
}
