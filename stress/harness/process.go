package harness

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"
)

// stopGrace is how long a process may go on when it was asked to stop.
const stopGrace = 2 * time.Second

// outputGrace is how long a process that ended may leave its standard output
// open in a process of its own.
const outputGrace = 100 * time.Millisecond

// A PeerProcess is a producer process of a block. Its methods may be called from
// any goroutine.
type PeerProcess struct {
	Stdin  io.WriteCloser // its end asks the process to stop
	Stdout *bufio.Reader  // nobody may read it during Stop; then it has the unread rest

	name   string
	cmd    *exec.Cmd
	stdout *os.File
	group  bool         // it leads a process group, which ends with it
	asked  atomic.Bool  // its end is no surprise
	final  atomic.Int64 // CPU in all, once it has ended; -1 before
	done   chan struct{}
	err    error // how it ended; valid when done is closed
	stop   sync.Once
}

// StartPeer runs the peer of that name in a fresh process. It finds files as
// descriptors 3, 4, ...; the caller still owns its own copies. What it writes to
// standard error goes with that of this process. ctx is the one of Arm.Block or
// made from it: its end stops the process, and a process that fails unasked ends
// the context of the block. The process never outlives this one.
func StartPeer(ctx context.Context, name string, p Params, files []*os.File, args ...string) (*PeerProcess, error) {
	params, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("harness: parameters of peer %q: %w", name, err)
	}
	cmd := self(peerCommand, append([]string{name, string(params)}, args...)...)
	cmd.ExtraFiles, cmd.Stderr = files, os.Stderr
	return start(ctx, &PeerProcess{name: fmt.Sprintf("peer %q", name), cmd: cmd})
}

// StartCommand is StartPeer for another program. cmd comes from exec.Command, not
// started; its standard input and output become those of the PeerProcess. One
// that does not end with its standard input wants a Signal before Stop.
func StartCommand(ctx context.Context, cmd *exec.Cmd) (*PeerProcess, error) {
	return start(ctx, &PeerProcess{name: fmt.Sprintf("command %q", cmd.Args[0]), cmd: cmd})
}

// self returns a command that runs this program with a hidden first argument.
func self(hidden string, args ...string) *exec.Cmd {
	cmd := exec.Command(selfExe, append([]string{hidden}, args...)...)
	cmd.Args[0] = os.Args[0]
	return cmd
}

func start(ctx context.Context, p *PeerProcess) (*PeerProcess, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("harness: start %s: %w", p.name, context.Cause(ctx))
	}
	childIn, stdin, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("harness: standard input of %s: %w", p.name, err)
	}
	defer childIn.Close()
	stdout, childOut, err := os.Pipe()
	if err != nil {
		stdin.Close()
		return nil, fmt.Errorf("harness: standard output of %s: %w", p.name, err)
	}
	defer childOut.Close()
	p.cmd.Stdin, p.cmd.Stdout = childIn, childOut
	p.cmd.WaitDelay = stopGrace // for a Stderr that something else holds open
	dieWithParent(p.cmd, p.group)
	if err := onStarter(p.cmd.Start); err != nil {
		stdin.Close()
		stdout.Close()
		return nil, fmt.Errorf("harness: start %s: %w", p.name, err)
	}
	p.Stdin, p.Stdout, p.stdout = stdin, bufio.NewReader(stdout), stdout
	p.done = make(chan struct{})
	p.final.Store(-1)
	go p.await(ctx)
	return p, nil
}

// await reaps the process. It asks it to stop when ctx ends.
func (p *PeerProcess) await(ctx context.Context) {
	kill := make(chan func() bool, 1)
	stop := context.AfterFunc(ctx, func() { kill <- p.ask() })
	awaitEnd(p.Pid())
	// It is a zombie: its id is still its own, and its clock can be read.
	p.final.Store(int64(cpuOf(p.Pid())))
	if p.group {
		killGroup(p.Pid())
	}
	p.err = p.cmd.Wait()
	if !stop() {
		(<-kill)()
	}
	close(p.done)
	if p.err != nil && !p.asked.Load() {
		failBlock(ctx, fmt.Errorf("harness: %s ended: %w", p.name, p.err))
	}
}

// ask asks the process to stop. It is killed if it goes on, unless the function
// returned is called before.
func (p *PeerProcess) ask() (spare func() bool) {
	p.asked.Store(true)
	p.Stdin.Close()
	return time.AfterFunc(stopGrace, func() {
		if p.group {
			killGroup(p.Pid())
			return
		}
		_ = p.cmd.Process.Kill() // fails only if it has ended
	}).Stop
}

// Pid returns the process id.
func (p *PeerProcess) Pid() int { return p.cmd.Process.Pid }

// CPU returns the CPU time that the process has used so far, in all if it has
// ended: all its threads, not its children, exact to the nanosecond.
func (p *PeerProcess) CPU() time.Duration {
	cpu := cpuOf(p.Pid())
	if final := p.final.Load(); final >= 0 {
		return time.Duration(final) // the id may be another process's by now
	}
	return cpu
}

// Signal sends sig. After that it is no failure of the block if the process ends.
func (p *PeerProcess) Signal(sig os.Signal) error {
	p.asked.Store(true)
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("harness: signal %v to %s: %w", sig, p.name, err)
	}
	return nil
}

// Stop closes standard input, reads the rest of standard output and waits for
// the end; a process that goes on for two seconds is killed. It returns how the
// process failed, nil for exit status 0. Further calls return the same.
func (p *PeerProcess) Stop() error {
	p.stop.Do(p.finish)
	if p.err != nil {
		return fmt.Errorf("harness: %s: %w", p.name, p.err)
	}
	return nil
}

func (p *PeerProcess) finish() {
	spare := p.ask()
	rest := make(chan []byte, 1)
	go func() { // at once: the process may wait for room in the pipe
		b, _ := io.ReadAll(p.Stdout)
		rest <- b
	}()
	<-p.done
	spare()
	_ = p.stdout.SetReadDeadline(time.Now().Add(outputGrace))
	p.Stdout = bufio.NewReader(bytes.NewReader(<-rest))
	p.stdout.Close()
}
