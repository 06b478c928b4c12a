// Package proctest runs tests across real processes.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { proctest.Main(m, roles) }
//
// Start then runs one of those roles in a fresh process: the test binary is
// started again, with a variable in its environment that names the role. Main
// also fails the run if the tests leave descriptors, memfd mappings or
// goroutines behind.
package proctest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// roleEnv names the role of a process that was started as one.
const roleEnv = "SHMLOOP_PROCTEST_ROLE"

// A Role is the main function of a process that a test starts. It gets the
// arguments given to Start and returns the exit code of the process. Files
// given to Start are descriptors 3, 4, ... here; they belong to the role.
type Role func(args []string) int

// Main runs the role that this process was started for. In a process that was
// not started as one it runs the tests and then fails, with a list, if they
// leaked descriptors, memfd mappings or goroutines. It does not return.
func Main(m *testing.M, roles map[string]Role) {
	if name, ok := os.LookupEnv(roleEnv); ok {
		// A process that the role starts is not a role by inheritance.
		os.Unsetenv(roleEnv)
		os.Exit(runRole(name, roles))
	}
	os.Exit(runTests(m))
}

func runRole(name string, roles map[string]Role) int {
	role, ok := roles[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "proctest: no role %q in this test binary\n", name)
		return 2
	}
	return role(os.Args[1:])
}

// Command returns a command, not started, that runs role in a fresh process
// of this test binary. It is for roles that start a process of their own and
// for tests that need more of exec.Cmd than Start offers; whoever starts it
// kills and reaps it.
func Command(role string, args ...string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("proctest: find the test binary: %w", err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(),
		roleEnv+"="+role,
		// The race detector would hold up each exit for a second.
		"GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	return cmd, nil
}
