package scenario

import (
	"os"
	"testing"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/stress/harness"
)

// The program that tests run, its blocks and its peers are this binary.
func TestMain(m *testing.M) {
	// The race detector would hold up each exit for a second.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	run := func([]string) int {
		harness.Main("stress", append(All(), lossy()), testPeers())
		return 0
	}
	if harness.IsChild() {
		run(nil)
	}
	proctest.Main(m, map[string]proctest.Role{"stress": run})
}
