package scenario

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/stress/harness"
)

// runArms runs a scenario for a moment, and expects all of its arms but those that sit
// it out.
func runArms(t *testing.T, s harness.Scenario, sitOut int, args ...string) document {
	t.Helper()
	d, err := stress(t, append([]string{s.Name, "-quick", "-duration", "40ms"}, args...)...)
	require.NoError(t, err)
	require.Empty(t, d.Failed)
	require.Len(t, d.Arms, len(s.Arms)-sitOut)
	for _, a := range d.Arms {
		require.Zero(t, a.Lost+a.Duplicated+a.Reordered, a.Name)
	}
	return d
}

func TestFanIn(t *testing.T) {
	t.Run("flat out", func(t *testing.T) {
		runArms(t, fanin(), 0, "-rings", "20", "-producers", "3")
	})
	t.Run("paced", func(t *testing.T) {
		d := runArms(t, fanin(), 2, "-rings", "20", "-producers", "3", "-rate", "20000") // no buffers
		for _, a := range d.Arms {
			require.True(t, a.Blocks == 0 || a.P50 > 0, a.Name)
		}
	})
	t.Run("one ring", func(t *testing.T) {
		runArms(t, fanin(), 0, "-rings", "1", "-producers", "1")
	})
	t.Run("other sizes", func(t *testing.T) {
		runArms(t, fanin(), len(fanin().Arms), "-size", "65")
	})
}

func TestIdle(t *testing.T) {
	runArms(t, idle(), 0, "-rings", "50", "-rate", "500")
}

func TestMixed(t *testing.T) {
	d := runArms(t, mixed(), 0, "-rings", "5", "-producers", "2", "-rate", "1000")
	for _, a := range d.Arms {
		require.True(t, a.Blocks == 0 || a.P50 > 0, a.Name)
	}
}
