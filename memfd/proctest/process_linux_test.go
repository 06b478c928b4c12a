package proctest_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
)

func TestStartTalksOverPipes(t *testing.T) {
	p := proctest.Start(t, "echo", nil, "one", "two")
	require.NotEqual(t, os.Getpid(), p.Pid())
	require.Equal(t, "one two", readLine(t, p.Stdout))

	_, err := io.WriteString(p.Stdin, "three\n")
	require.NoError(t, err)
	require.Equal(t, "three", readLine(t, p.Stdout))

	require.NoError(t, p.Stdin.Close())
	require.NoError(t, p.Wait())
	require.NoError(t, p.Wait(), "Wait again")
}

func TestOutputCanBeReadAfterWait(t *testing.T) {
	p := proctest.Start(t, "echo", nil, "left over")
	require.NoError(t, p.Stdin.Close())
	require.NoError(t, p.Wait())
	require.Equal(t, "left over", readLine(t, p.Stdout))
}

func TestFilesBecomeDescriptorsFromThree(t *testing.T) {
	var files []*os.File
	for _, text := range []string{"first", "second"} {
		path := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		f, err := os.Open(path)
		require.NoError(t, err)
		defer f.Close()
		files = append(files, f)
	}
	p := proctest.Start(t, "files", files)
	require.Equal(t, "first", readLine(t, p.Stdout))
	require.Equal(t, "second", readLine(t, p.Stdout))
	require.NoError(t, p.Wait())
}

func TestWaitTellsExitCode(t *testing.T) {
	for role, code := range map[string]int{"exit": 3, "no such role": 2} {
		err := proctest.Start(t, role, nil).Wait()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, role)
		require.Equal(t, code, exit.ExitCode(), role)
	}
}

func TestKillReapsAlsoStopped(t *testing.T) {
	p := proctest.Start(t, "hang", nil)
	require.Equal(t, "up", readLine(t, p.Stdout))
	require.NoError(t, p.Signal(syscall.SIGSTOP))
	require.NoError(t, p.Kill())
	require.NoError(t, p.Kill(), "Kill again")

	var exit *exec.ExitError
	require.ErrorAs(t, p.Wait(), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal())
	require.ErrorIs(t, p.Signal(syscall.SIGTERM), os.ErrProcessDone)
}

func TestCleanupKillsAndReaps(t *testing.T) {
	before := proctest.Take()
	var pid int
	t.Run("starts a role that hangs", func(t *testing.T) {
		p := proctest.Start(t, "hang", nil)
		pid = p.Pid()
		require.Equal(t, "up", readLine(t, p.Stdout))
	})
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	require.Equal(t, before.FDs, proctest.Take().FDs)
}

// A role that broke by itself must not pass unnoticed.
func TestCleanupReportsRoleThatFailed(t *testing.T) {
	for role, fails := range map[string]bool{"exit": true, "nothing": false} {
		tb := &recorder{TB: t}
		p := proctest.Start(tb, role, nil)
		_, err := p.Stdout.ReadByte() // end of file: the role is over, but not reaped
		require.ErrorIs(t, err, io.EOF)
		tb.cleanUp()
		require.Equal(t, fails, tb.failed, role)
	}
}

// recorder is a testing.TB whose end and whose failure are seen by a test.
type recorder struct {
	testing.TB
	cleanups []func()
	failed   bool
}

func (r *recorder) Cleanup(f func())      { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(string, ...any) { r.failed = true }

func (r *recorder) cleanUp() {
	for _, f := range r.cleanups {
		f()
	}
}

func TestCommandStartsGrandchild(t *testing.T) {
	p := proctest.Start(t, "parent", nil)
	pid, err := strconv.Atoi(readLine(t, p.Stdout))
	require.NoError(t, err)
	require.Equal(t, "up", readLine(t, p.Stdout))

	require.NoError(t, p.Kill())
	require.NoError(t, syscall.Kill(pid, 0), "a grandchild may outlive its parent")
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	_, err = p.Stdout.ReadByte()
	require.True(t, errors.Is(err, io.EOF), "it held the pipe until it died: %v", err)
}
