package proctest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
)

// A Process is a role that runs in a process of its own. Its standard error
// is that of the test. Kill, Signal and Wait may be called from any goroutine.
type Process struct {
	Stdin  io.WriteCloser // closing it is an end of file for the role
	Stdout *bufio.Reader  // may still be read after Wait, until the test ends

	cmd      *exec.Cmd
	waitOnce sync.Once
	waitErr  error
	asked    bool // the test called Wait or Kill: the exit status is its affair
	mu       sync.Mutex
}

// Start runs role in a fresh process with args. The role finds files as
// descriptors 3, 4, ...; the caller still owns its own copies. At the end of
// the test the process is killed and reaped; a role that had failed by itself
// by then, and whose status nobody asked for with Wait, fails the test.
func Start(tb testing.TB, role string, files []*os.File, args ...string) *Process {
	tb.Helper()
	p, err := start(tb, role, files, args)
	if err != nil {
		tb.Fatalf("proctest: start role %q: %v", role, err)
	}
	return p
}

func start(tb testing.TB, role string, files []*os.File, args []string) (*Process, error) {
	cmd, err := Command(role, args...)
	if err != nil {
		return nil, err
	}
	// Pipes of our own: those of exec.Cmd would be closed by Wait, with
	// output still unread.
	childIn, stdin, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe for standard input: %w", err)
	}
	defer childIn.Close()
	stdout, childOut, err := os.Pipe()
	if err != nil {
		stdin.Close()
		return nil, fmt.Errorf("pipe for standard output: %w", err)
	}
	defer childOut.Close()

	cmd.Stdin, cmd.Stdout, cmd.Stderr = childIn, childOut, os.Stderr
	cmd.ExtraFiles = files
	dieWithParent(cmd)
	if err := onStarter(cmd.Start); err != nil {
		stdin.Close()
		stdout.Close()
		return nil, err
	}
	p := &Process{Stdin: stdin, Stdout: bufio.NewReader(stdout), cmd: cmd}
	tb.Cleanup(func() {
		// Kill before closing the pipes: a role must not fail because
		// its test is over.
		p.finish(tb, role)
		stdin.Close()
		stdout.Close()
	})
	return p, nil
}

func (p *Process) finish(tb testing.TB, role string) {
	p.mu.Lock()
	asked := p.asked
	p.mu.Unlock()
	_ = p.kill()
	if state := p.cmd.ProcessState; !asked && state != nil && state.Exited() && !state.Success() {
		tb.Errorf("proctest: role %q ended by itself: %v", role, state)
	}
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends sig. It returns os.ErrProcessDone once the process was reaped.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Wait waits for the process to end, reaps it, and returns nil for exit code
// 0, an *exec.ExitError for another end. Further calls return the same.
func (p *Process) Wait() error {
	p.mu.Lock()
	p.asked = true
	p.mu.Unlock()
	return p.wait()
}

// Kill ends the process with SIGKILL, also when it is stopped, and reaps it.
func (p *Process) Kill() error {
	p.mu.Lock()
	p.asked = true
	p.mu.Unlock()
	return p.kill()
}

func (p *Process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("proctest: kill %d: %w", p.Pid(), err)
	}
	_ = p.wait() // says "killed", as it should
	return nil
}

func (p *Process) wait() error {
	p.waitOnce.Do(func() { p.waitErr = p.cmd.Wait() })
	return p.waitErr
}

// The kernel sends the death signal of dieWithParent when the thread that
// forked ends, not the process, and a Go thread ends with a goroutine that is
// locked to it. So one thread that never ends starts all processes.
var (
	starterOnce sync.Once
	starterWork = make(chan func())
)

func runStarter() {
	starterOnce.Do(func() {
		go func() {
			runtime.LockOSThread()
			for f := range starterWork {
				f()
			}
		}()
	})
}

func onStarter(f func() error) error {
	runStarter()
	result := make(chan error)
	starterWork <- func() { result <- f() }
	return <-result
}
