package proctest_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
)

// leakEnv tells TestLeakFixture, in a test run of its own, to leak.
const leakEnv = "SHMLOOP_PROCTEST_LEAK"

func TestLeaksFailTheRun(t *testing.T) {
	out, err := runFixture(t, "all")
	require.Error(t, err, "%s", out)
	require.Regexp(t, `(?m)^descriptor: \d+ -> pipe:\[\d+\]$`, out)
	require.Regexp(t, `(?m)^mapping: .*/memfd:leaked`, out)
	require.Regexp(t, `(?m)^goroutine: goroutine \d+\n(?s).*proctest_test\.leakGoroutine`, out)
}

func TestNoLeakPasses(t *testing.T) {
	out, err := runFixture(t, "nothing")
	require.NoError(t, err, "%s", out)
}

func runFixture(t *testing.T, leak string) (output string, err error) {
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, "-test.run=^TestLeakFixture$")
	cmd.Env = append(os.Environ(), leakEnv+"="+leak, "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestLeakFixture is the test that leaks, where TestLeaksFailTheRun says so.
func TestLeakFixture(t *testing.T) {
	if os.Getenv(leakEnv) != "all" {
		return
	}
	var p [2]int
	require.NoError(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
	fd, err := unix.MemfdCreate("leaked", unix.MFD_CLOEXEC)
	require.NoError(t, err)
	_, err = unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	go leakGoroutine()
}

func leakGoroutine() { select {} }

func TestCensusCounts(t *testing.T) {
	before := proctest.Take()
	fd, err := unix.MemfdCreate("counted", unix.MFD_CLOEXEC)
	require.NoError(t, err)
	require.NoError(t, unix.Ftruncate(fd, 4096))
	b, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	started, stop, done := make(chan bool), make(chan bool), make(chan bool)
	go func() {
		close(started)
		<-stop
		close(done)
	}()
	<-started

	with := proctest.Take()
	require.Equal(t, before.FDs+1, with.FDs)
	require.Equal(t, before.Mappings+1, with.Mappings)
	require.Equal(t, before.Goroutines+1, with.Goroutines)
	require.Positive(t, with.Threads)

	close(stop)
	<-done
	require.NoError(t, unix.Munmap(b))
	require.NoError(t, unix.Close(fd))
	after := proctest.Take()
	require.Equal(t, before.FDs, after.FDs)
	require.Equal(t, before.Mappings, after.Mappings)
}
