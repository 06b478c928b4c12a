//go:build linux

package interop_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/sharedring"
)

// limit bounds one exchange with a peer; a hang ends there. Nothing is measured by it.
const limit = 60 * time.Second

var errNoCargo = errors.New("cargo, which builds the Rust peer, is not on PATH")

// buildPeer builds the Rust peer once for all tests, and returns the program's path.
var buildPeer = sync.OnceValues(func() (string, error) {
	cargo, err := exec.LookPath("cargo")
	if err != nil {
		return "", errNoCargo
	}
	target, err := targetDir()
	if err != nil {
		return "", err
	}
	args := []string{
		"build", "--release", "--locked", "--quiet",
		"--manifest-path", filepath.Join("peer", "Cargo.toml"), "--target-dir", target,
	}
	// Offline first: once the crates are here, no build asks a registry for anything.
	if err = runCargo(cargo, append(args, "--offline")); err != nil {
		err = runCargo(cargo, args)
	}
	return filepath.Join(target, "release", "shmloop-interop-peer"), err
})

// targetDir is outside the source tree, and stays, so that later runs only check the build.
func targetDir() (string, error) {
	if dir := os.Getenv("CARGO_TARGET_DIR"); dir != "" {
		return filepath.Abs(dir)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place to build the Rust peer, set CARGO_TARGET_DIR: %w", err)
	}
	return filepath.Join(cache, "shmloop-interop"), nil
}

func runCargo(cargo string, args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, cargo, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", cargo, strings.Join(args, " "), err, out)
	}
	return nil
}

// peerProgram is the path of the built peer. It skips the test where there is no cargo.
func peerProgram(t *testing.T) string {
	t.Helper()
	program, err := buildPeer()
	if errors.Is(err, errNoCargo) && os.Getenv("SHMLOOP_REQUIRE_PEERS") != "1" {
		t.Skipf("skipped: %v (SHMLOOP_REQUIRE_PEERS=1 makes this a failure)", err)
	}
	require.NoError(t, err)
	return program
}

// job is what the peer is told to do; its fields are the peer's arguments.
type job struct {
	sends     bool // the peer's end of the ring
	makesRing bool // else it inherits one made in this process
	item      string
	capacity  int
	count     int
	seed      uint64
	batches   string
	pace      string
}

func (j job) args() []string {
	role, maker := "recv", "go"
	if j.sends {
		role = "send"
	}
	if j.makesRing {
		maker = "rust"
	}
	return []string{
		role, maker, j.item, strconv.Itoa(j.capacity), strconv.Itoa(j.count),
		strconv.FormatUint(j.seed, 10), j.batches, j.pace,
	}
}

// peer is the Rust program at the other end of one ring.
type peer struct {
	ctx    context.Context // ends at the limit, and when the peer fails
	cmd    *exec.Cmd
	out    bytes.Buffer // what it printed; to be read once exited is closed
	exited chan struct{}
	err    error             // of the process; to be read once exited is closed
	probe  sharedring.Handle // the ring's descriptors while the test runs, to look at
}

// startPeer starts the program with files as its descriptors 3, 4, ... and closes
// them here. The process is gone when the test is over.
func startPeer(t *testing.T, j job, files ...*os.File) *peer {
	t.Helper()
	program := peerProgram(t)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	ctx, fail := context.WithCancelCause(ctx)
	p := &peer{ctx: ctx, cmd: exec.Command(program, j.args()...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.ExtraFiles = &p.out, &p.out, files
	err := p.cmd.Start()
	for _, f := range files {
		require.NoError(t, f.Close())
	}
	require.NoError(t, err)
	go func() {
		if p.err = p.cmd.Wait(); p.err != nil {
			fail(fmt.Errorf("the peer failed: %w", p.err))
		}
		close(p.exited)
	}()
	t.Cleanup(func() {
		cancel()
		p.kill()
	})
	return p
}

// kill ends the process if it still runs, and waits for its end.
func (p *peer) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// wait waits for the peer to end well and returns what it printed.
func (p *peer) wait() (string, error) {
	select {
	case <-p.exited:
	case <-p.ctx.Done():
	}
	if err := context.Cause(p.ctx); err != nil {
		return "", fmt.Errorf("waiting for the peer: %w", err)
	}
	return p.out.String(), nil
}

// require ends the test if err is not nil, with the state of both sides.
func (p *peer) require(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if cause := context.Cause(p.ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	state := p.state()
	p.kill()
	t.Fatalf("%v\n%s\npeer's output: %s", err, state, p.out.String())
}

// state tells what the ring's memory and the kernel know of the two sides.
func (p *peer) state() string {
	var s strings.Builder
	fmt.Fprintf(&s, "peer: %s\n", strings.Join(p.cmd.Args[1:], " "))
	for _, name := range []string{"wchan", "syscall"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name))
		if err != nil {
			b = []byte(err.Error())
		}
		fmt.Fprintf(&s, "peer's %s: %s\n", name, bytes.TrimSpace(b))
	}
	if p.probe == (sharedring.Handle{}) {
		return s.String() + "no ring yet"
	}
	count, err := countInMemory(p.probe)
	fmt.Fprintf(&s, "memory: count %d (%v)\n", count, err)
	empty, err1 := doorbellCount(p.probe.EmptySignal)
	full, err2 := doorbellCount(p.probe.FullSignal)
	fmt.Fprintf(&s, "counters: empty-signal %d (%v), full-signal %d (%v)", empty, err1, full, err2)
	return s.String()
}

func countInMemory(h sharedring.Handle) (uint64, error) {
	var count [8]byte
	_, err := unix.Pread(h.Memory, count[:], 0)
	return binary.NativeEndian.Uint64(count[:]), err
}

// doorbellCount is the counter of an eventfd, not read away.
func doorbellCount(fd int) (uint64, error) {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(info)) {
		if n, ok := strings.CutPrefix(line, "eventfd-count:"); ok {
			return strconv.ParseUint(strings.TrimSpace(n), 16, 64)
		}
	}
	return 0, fmt.Errorf("descriptor %d is not an eventfd: %s", fd, info)
}

// end is either end of a ring.
type end interface {
	Handle() (sharedring.Handle, error)
	Close() error
	Len() int
}

// connect starts a peer with a ring between it and this process. One of create and
// open makes the end here, by who makes the ring.
func connect[E end](t *testing.T, j job, create func() (E, error), open func(sharedring.Handle) (E, error)) (E, *peer) {
	t.Helper()
	if j.makesRing {
		p, h := startMaker(t, j)
		e, err := open(h)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Close()) })
		return e, p
	}
	e, err := create()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	h, err := e.Handle()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	p := startPeer(t, j, inherit(t, h)...)
	p.probe = h
	return e, p
}

// inherit gives files of h's ring that a peer can inherit; h stays the caller's.
func inherit(t *testing.T, h sharedring.Handle) []*os.File {
	t.Helper()
	h, err := h.Dup()
	require.NoError(t, err)
	return []*os.File{
		os.NewFile(uintptr(h.Memory), "memory"),
		os.NewFile(uintptr(h.EmptySignal), "empty-signal"),
		os.NewFile(uintptr(h.FullSignal), "full-signal"),
	}
}

// startMaker starts a peer that makes the ring, and receives the ring's handle from it.
func startMaker(t *testing.T, j job) (*peer, sharedring.Handle) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	ours := os.NewFile(uintptr(fds[0]), "handle socket")
	conn, err := net.FileConn(ours)
	require.NoError(t, errors.Join(err, ours.Close()))
	defer conn.Close()
	p := startPeer(t, j, os.NewFile(uintptr(fds[1]), "handle socket of the peer"))

	require.NoError(t, conn.SetReadDeadline(time.Now().Add(limit)))
	var capacity [8]byte
	control := make([]byte, unix.CmsgSpace(3*4))
	n, controlLen, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(capacity[:], control)
	p.require(t, err)
	require.Equal(t, len(capacity), n, "bytes of the capacity")
	messages, err := unix.ParseSocketControlMessage(control[:controlLen])
	require.NoError(t, err)
	require.Len(t, messages, 1)
	ring, err := unix.ParseUnixRights(&messages[0])
	require.NoError(t, err)
	require.Len(t, ring, 3)
	h := sharedring.Handle{
		Capacity: int(binary.NativeEndian.Uint64(capacity[:])),
		Memory:   ring[0], EmptySignal: ring[1], FullSignal: ring[2],
	}
	p.probe, err = h.Dup()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.probe.Close()) })
	return p, h
}
