package proctest

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// leakDeadline is how long things may take to go away after the last test:
// goroutines on their way out, cleanups that wait for a garbage collection.
// There is no event to wait for, so they are polled.
const (
	leakDeadline = 3 * time.Second
	leakPause    = 10 * time.Millisecond
)

// runTests runs the tests and returns the exit code. Leaks are looked for
// only after a run that passed: a failed test may well leave things behind.
func runTests(m *testing.M) int {
	if runtime.GOOS != "linux" {
		return m.Run() // no /proc
	}
	runStarter()
	before, err := takeHoldings()
	if err != nil {
		fmt.Fprintf(os.Stderr, "proctest: before the tests: %v\n", err)
		return 1
	}
	if code := m.Run(); code != 0 {
		return code
	}
	leaks, err := awaitNone(before)
	if err != nil {
		fmt.Fprintf(os.Stderr, "proctest: after the tests: %v\n", err)
		return 1
	}
	if len(leaks) == 0 {
		return 0
	}
	fmt.Fprintf(os.Stderr, "proctest: the tests leaked:\n")
	for _, leak := range leaks {
		fmt.Fprintln(os.Stderr, leak)
	}
	return 1
}

func awaitNone(before holdings) ([]string, error) {
	deadline := time.Now().Add(leakDeadline)
	for {
		// The second collection frees what the first one's finalizers
		// and cleanups let go of.
		runtime.GC()
		runtime.GC()
		now, err := takeHoldings()
		if err != nil {
			return nil, err
		}
		leaks := now.since(before)
		if len(leaks) == 0 || time.Now().After(deadline) {
			return leaks, nil
		}
		time.Sleep(leakPause)
	}
}
