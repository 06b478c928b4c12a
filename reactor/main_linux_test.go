package reactor

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
)

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Role{"inject": injectRole, "ring": ringRole})
}

// harness is a loop with all that a test gives to it. At the end it closes them
// in the right order: first the loop, then the descriptors that it borrowed.
type harness struct {
	*Loop
	t   testing.TB
	fds []int
}

func newHarness(t testing.TB, opts ...Option) *harness {
	l, err := NewLoop(opts...)
	require.NoError(t, err)
	h := &harness{Loop: l, t: t}
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		for _, fd := range h.fds {
			require.NoError(t, unix.Close(fd))
		}
	})
	return h
}

// run starts Run on a goroutine that ends with the test.
func (h *harness) run() {
	done := make(chan error, 1)
	go func() { done <- h.Run(context.Background()) }()
	h.t.Cleanup(func() {
		require.NoError(h.t, h.Close())
		require.ErrorIs(h.t, <-done, ErrClosed)
	})
}

// do runs f on the loop and waits for it.
func (h *harness) do(f func()) {
	done := make(chan bool)
	require.NoError(h.t, h.Post(func() {
		defer close(done)
		f()
	}))
	<-done
}

// poll is Poll(0) as often as there is something to do, up to 100 times.
func (h *harness) poll() (callbacks int) {
	for range 100 {
		n, err := h.Poll(0)
		require.NoError(h.t, err)
		if n == 0 && !h.readable() {
			break
		}
		callbacks += n
	}
	return callbacks
}

// readable says whether the descriptor of the loop is.
func (h *harness) readable() bool { return readable(h.t, h.FD()) }

func readable(t testing.TB, fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			require.NoError(t, err)
			return n == 1
		}
	}
}

// own closes fds after the loop.
func (h *harness) own(fds ...int) {
	h.fds = append(h.fds, fds...)
}

func (h *harness) disown(fd int) {
	for i := range h.fds {
		if h.fds[i] == fd {
			h.fds = append(h.fds[:i], h.fds[i+1:]...)
			return
		}
	}
}

func (h *harness) eventfd() int {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	require.NoError(h.t, err)
	h.own(fd)
	return fd
}

func (h *harness) pipe() (r, w int) {
	var p [2]int
	require.NoError(h.t, unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK))
	h.own(p[:]...)
	return p[0], p[1]
}

func (h *harness) socketpair() (a, b int) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	require.NoError(h.t, err)
	h.own(p[:]...)
	return p[0], p[1]
}

func (h *harness) attach(s Source, hd Handler) *Registration {
	r, err := h.Attach(s, hd)
	require.NoError(h.t, err)
	return r
}

func (h *harness) register(fd int, i Interest, hd Handler) *Registration {
	r, err := h.Register(fd, i, hd)
	require.NoError(h.t, err)
	return r
}

// fakeRing is a ring without memory: the count, the doorbell, and the rule of
// the wire that only the step from 0 rings.
type fakeRing struct {
	t     testing.TB
	bell  int
	count atomic.Int64
	looks atomic.Int64 // calls of Pending and Arm

	// Set before Attach, or on the loop.
	pending func() error
	arm     func() error
}

func (h *harness) ring() *fakeRing { return &fakeRing{t: h.t, bell: h.eventfd()} }

func (f *fakeRing) FD() int { return f.bell }

func (f *fakeRing) Pending() (bool, error) {
	f.looks.Add(1)
	if f.pending != nil {
		if err := f.pending(); err != nil {
			return false, err
		}
	}
	return f.count.Load() > 0, nil
}

func (f *fakeRing) Arm() (bool, error) {
	f.looks.Add(1)
	if f.arm != nil {
		if err := f.arm(); err != nil {
			return false, err
		}
	}
	return f.count.Load() > 0, nil
}

// send is the peer's.
func (f *fakeRing) send(n int64) {
	if f.count.Add(n) == n {
		ringBell(f.t, f.bell)
	}
}

// take is the handler's: up to limit items.
func (f *fakeRing) take(limit int64) int64 {
	n := min(f.count.Load(), limit)
	f.count.Add(-n)
	return n
}

func ringBell(t testing.TB, fd int) {
	if _, err := unix.Write(fd, one); err != nil {
		t.Errorf("ring: %v", err)
	}
}

func readFull(t testing.TB, fd int) []byte {
	buf := make([]byte, 64)
	n, err := unix.Read(fd, buf)
	require.NoError(t, err)
	return buf[:n]
}

// takeAll is a handler that empties f and adds to total.
func takeAll(f *fakeRing, total *atomic.Int64) Handler {
	return Handler{Ready: func(Event) error {
		total.Add(f.take(1 << 40))
		return nil
	}}
}

// nothing is a handler that must not be told of an end before that of the loop.
func nothing(t testing.TB) Handler {
	return Handler{
		Ready: func(Event) error { return nil },
		Closed: func(err error) {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("closed: %v", err)
			}
		},
	}
}

var errTest = errors.New("test")

func nativeUint64(n uint64) []byte { return binary.NativeEndian.AppendUint64(nil, n) }

// noError is require.NoError for any goroutine.
func noError(t testing.TB, err error) {
	if err != nil {
		t.Helper()
		t.Error(err)
	}
}

func readInto(fd int, buf []byte) error {
	_, err := unix.Read(fd, buf)
	return err
}
