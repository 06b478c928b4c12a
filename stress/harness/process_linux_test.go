package harness

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func startPeer(t *testing.T, ctx context.Context, name string, args ...string) *PeerProcess {
	t.Helper()
	p, err := StartPeer(ctx, name, Params{Size: 64}, nil, args...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop() })
	return p
}

func readLine(t *testing.T, p *PeerProcess) string {
	t.Helper()
	line, err := p.Stdout.ReadString('\n')
	require.NoError(t, err)
	return line
}

func requireGone(t *testing.T, p *PeerProcess) {
	t.Helper()
	require.ErrorIs(t, syscall.Kill(p.Pid(), 0), syscall.ESRCH)
}

func TestStopAsksAndKeepsTheRestOfTheOutput(t *testing.T) {
	p := startPeer(t, t.Context(), "echo", "a b", "")
	require.Equal(t, "size 64, arguments [\"a b\" \"\"]\n", readLine(t, p))
	require.NoError(t, p.Stop(), "an error after the context has ended is no failure")
	requireGone(t, p)
	rest, err := io.ReadAll(p.Stdout)
	require.NoError(t, err)
	require.Equal(t, "asked to stop\n", string(rest))
	require.NoError(t, p.Stop(), "again")
}

func TestStopKillsOneThatGoesOn(t *testing.T) {
	p := startPeer(t, t.Context(), "deaf")
	readLine(t, p)
	require.Error(t, p.Stop())
	requireGone(t, p)
}

func TestPeerGetsFiles(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	p, err := StartPeer(t.Context(), "writer", Params{Size: 16}, []*os.File{w})
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, err = io.ReadFull(r, make([]byte, 32))
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, p.Stop())
}

func TestCPUOfAPeerIsKnownAfterItsEnd(t *testing.T) {
	p := startPeer(t, t.Context(), "busy")
	readLine(t, p)
	running := p.CPU()
	require.GreaterOrEqual(t, running, 20*time.Millisecond)
	require.NoError(t, p.Stop())
	ended := p.CPU()
	require.GreaterOrEqual(t, ended, running)
	state := p.cmd.ProcessState
	require.InDelta(t, float64(state.UserTime()+state.SystemTime()), float64(ended), float64(5*time.Millisecond),
		"what the kernel says of it at its end")
	require.Equal(t, ended, p.CPU())
}

func TestPeerEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := startPeer(t, ctx, "echo")
	cancel()
	<-p.done
	require.NoError(t, p.Stop())
	requireGone(t, p)
	_, err := StartPeer(ctx, "echo", Params{}, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestPeerThatFailsEndsTheBlock(t *testing.T) {
	ctx, fail := context.WithCancelCause(t.Context())
	defer fail(nil)
	ctx = context.WithValue(ctx, failKey{}, fail)
	_, err := StartPeer(ctx, "nobody", Params{}, nil)
	require.NoError(t, err)
	<-ctx.Done()
	require.ErrorContains(t, context.Cause(ctx), `peer "nobody" ended: exit status 1`)
}

func TestPeerThatIsKilledByTheArmDoesNotEndTheBlock(t *testing.T) {
	ctx, fail := context.WithCancelCause(t.Context())
	defer fail(nil)
	ctx = context.WithValue(ctx, failKey{}, fail)
	p := startPeer(t, ctx, "deaf")
	require.NoError(t, p.Signal(syscall.SIGKILL))
	<-p.done
	require.ErrorContains(t, p.Stop(), "killed")
	require.NoError(t, ctx.Err())
	require.ErrorIs(t, p.Signal(syscall.SIGKILL), os.ErrProcessDone)
}

func TestStartCommand(t *testing.T) {
	p, err := StartCommand(t.Context(), exec.Command("cat"))
	require.NoError(t, err)
	_, err = io.WriteString(p.Stdin, "to and fro\n")
	require.NoError(t, err)
	require.Equal(t, "to and fro\n", readLine(t, p))
	require.NoError(t, p.Stop())

	_, err = StartCommand(t.Context(), exec.Command("/there/is/no/such/program"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A process of a process may keep the standard output open for ever.
func TestStopDoesNotWaitForGrandchildren(t *testing.T) {
	p, err := StartCommand(t.Context(), exec.Command("sh", "-c", "sleep 1000 & echo $!; cat"))
	require.NoError(t, err)
	var pid int
	_, err = fmt.Sscan(readLine(t, p), &pid)
	require.NoError(t, err)
	defer syscall.Kill(pid, syscall.SIGKILL)
	require.NoError(t, p.Stop())
}
