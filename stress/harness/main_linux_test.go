package harness

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
)

// The blocks and peers of the tests are this binary.
func TestMain(m *testing.M) {
	if IsChild() {
		Main("stress", testScenarios(), testPeers())
	}
	// The race detector would hold up each exit for a second.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	// The thread that starts processes stays: no leak.
	_ = onStarter(func() error { return nil })
	proctest.Main(m, map[string]proctest.Role{
		"app": func([]string) int {
			Main("stress", testScenarios(), testPeers())
			return 0
		},
	})
}

// An outcome is what a run of the program left behind.
type outcome struct {
	status   int
	out, log string
}

// runApp runs the program, its blocks in processes of their own.
func runApp(t *testing.T, args ...string) outcome {
	t.Helper()
	return runPatient(t, blockPatience, args...)
}

// runPatient is runApp with another limit to how long a block may take.
func runPatient(t *testing.T, patience time.Duration, args ...string) outcome {
	t.Helper()
	var out, log bytes.Buffer
	a := app{name: "stress", scenarios: testScenarios(), out: &out, log: &log, patience: patience, ticks: nothingStolen}
	status := a.main(t.Context(), args)
	return outcome{status, out.String(), log.String()}
}

// nothingStolen keeps all blocks, however busy the host of this machine is.
func nothingStolen() (cpuTicks, error) { return cpuTicks{}, nil }

func requireStatus(t *testing.T, want int, o outcome) {
	t.Helper()
	require.Equal(t, want, o.status, "standard error: %s", o.log)
}

// never returns before its context ends.
func never(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
