package reactor_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// What the other tests show with a fake Source, these show with real rings, real
// eventfds and a peer on another goroutine.

// patience ends a test that hangs; nothing is measured with it.
const patience = time.Minute

// rig is a loop with real rings. At the end of the test it closes the loop, and
// after it the ends that the loop borrowed.
type rig struct {
	*reactor.Loop
	t    testing.TB
	ends []func() error
}

func newRig(t testing.TB, opts ...reactor.Option) *rig {
	l, err := reactor.NewLoop(opts...)
	require.NoError(t, err)
	g := &rig{Loop: l, t: t}
	t.Cleanup(func() {
		noError(t, g.Close())
		for _, end := range g.ends {
			noError(t, end())
		}
	})
	return g
}

// own closes what end closes after the loop.
func (g *rig) own(end func() error) { g.ends = append(g.ends, end) }

// run starts Run on a goroutine that ends with the test.
func (g *rig) run() {
	done := make(chan error, 1)
	go func() { done <- g.Run(context.Background()) }()
	g.t.Cleanup(func() {
		noError(g.t, g.Close())
		if err := <-done; !errors.Is(err, reactor.ErrClosed) {
			g.t.Errorf("run: %v", err)
		}
	})
}

// do runs f on the loop and waits for it.
func (g *rig) do(f func()) {
	done := make(chan bool)
	noError(g.t, g.Post(func() {
		defer close(done)
		f()
	}))
	<-done
}

// rounds lets all turns end that were due before.
func (g *rig) rounds() {
	for range 3 {
		g.do(func() {})
	}
}

// poll is Poll(0) until there is nothing to do.
func (g *rig) poll() {
	for range 100_000 {
		before := g.Stats().Edges
		n, err := g.Poll(0)
		require.NoError(g.t, err)
		if n == 0 && g.Stats().Edges == before && !readableFD(g.t, g.FD()) {
			return
		}
	}
	require.FailNow(g.t, "the loop does not come to rest")
}

func (g *rig) attach(s reactor.Source, h reactor.Handler) *reactor.Registration {
	r, err := g.Attach(s, h)
	require.NoError(g.t, err)
	return r
}

func readableFD(t testing.TB, fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			require.NoError(t, err)
			return n == 1
		}
	}
}

// ring is both ends of a ring, and a handle of a third party.
type ring[T any] struct {
	rx    *sharedring.Receiver[T]
	tx    *sharedring.Sender[T]
	third sharedring.Handle
}

// newRing makes a ring whose ends have descriptors of their own.
func newRing[T any](g *rig, capacity int, opts ...sharedring.Option) *ring[T] {
	r, err := openRing[T](capacity, opts...)
	require.NoError(g.t, err)
	g.own(r.close)
	return r
}

func openRing[T any](capacity int, opts ...sharedring.Option) (r *ring[T], err error) {
	var item T
	r = new(ring[T])
	if r.third, err = sharedring.Create(capacity, binary.Size(item), opts...); err != nil {
		return nil, err
	}
	far, err := r.third.Dup()
	if err != nil {
		return nil, err
	}
	if r.tx, err = sharedring.OpenSender[T](far, opts...); err != nil {
		return nil, err
	}
	near, err := r.third.Dup()
	if err != nil {
		return nil, err
	}
	r.rx, err = sharedring.OpenReceiver[T](near, opts...)
	return r, err
}

// close may be called when an end is closed already.
func (r *ring[T]) close() error {
	err := errors.Join(r.rx.Close(), r.tx.Close(), r.third.Close())
	r.third = sharedring.Handle{}
	return err
}

// corrupt writes a count that cannot be.
func (r *ring[T]) corrupt(t testing.TB) {
	h, err := r.third.Dup()
	require.NoError(t, err)
	f, err := memfd.Open(h.Memory)
	require.NoError(t, err)
	m, err := f.Map(int(f.Size()))
	require.NoError(t, err)
	binary.NativeEndian.PutUint64(m.Bytes(), 1<<40)
	noError(t, errors.Join(m.Close(), f.Close(), unix.Close(h.EmptySignal), unix.Close(h.FullSignal)))
}

// third of a page: a ring of these holds three.
type third [168]uint64

// checker receives 0, 1, 2, ... in callbacks.
type checker struct {
	rx   *sharedring.Receiver[uint64]
	next atomic.Uint64
}

// take takes up to n items.
func (c *checker) take(n int) (int, error) {
	buf := make([]uint64, n)
	got, err := c.rx.Receive(buf)
	next := c.next.Load()
	for _, v := range buf[:got] {
		if v != next {
			return got, fmt.Errorf("item %d came where %d was due", v, next)
		}
		next++
	}
	c.next.Store(next)
	return got, err
}

// taking is a handler that takes up to n items a turn and must not be ended but by
// the loop's end.
func (c *checker) taking(t testing.TB, n int) reactor.Handler {
	return endsWithLoop(t, func(reactor.Event) error {
		_, err := c.take(n)
		return err
	})
}

func endsWithLoop(t testing.TB, ready func(reactor.Event) error) reactor.Handler {
	return reactor.Handler{Ready: ready, Closed: func(err error) {
		if !errors.Is(err, reactor.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	}}
}

// numbers returns from, from+1, ..., to-1.
func numbers(from, to int) []uint64 {
	var all []uint64
	for i := from; i < to; i++ {
		all = append(all, uint64(i))
	}
	return all
}

// context ends a test that hangs.
func (r *ring[T]) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// flood sends 0, ..., n-1 in batches of many sizes, waiting for room.
func flood(t testing.TB, tx *sharedring.Sender[uint64], n int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for sent, batch := 0, 1; sent < n; batch = batch%97 + 1 {
		end := min(sent+batch, n)
		if _, err := tx.SendContext(ctx, numbers(sent, end)); err != nil {
			t.Errorf("send %d: %v", sent, err)
			return
		}
		sent = end
	}
}

// fill sends until the ring takes no more and its sender has given up the spare
// slot, and returns how many it took.
func fill(t testing.TB, tx *sharedring.Sender[uint64]) (n int) {
	for {
		sent, err := tx.Send([]uint64{uint64(n)})
		require.NoError(t, err)
		n += sent
		if sent > 0 {
			continue
		}
		more, err := tx.Arm()
		require.NoError(t, err)
		if !more {
			return n
		}
	}
}

// hooked does something before the loop asks a ring end, on the loop's goroutine.
type hooked struct {
	reactor.Source
	arm     func()
	pending func()
}

func (h *hooked) Arm() (bool, error) {
	if h.arm != nil {
		h.arm()
	}
	return h.Source.Arm()
}

func (h *hooked) Pending() (bool, error) {
	if h.pending != nil {
		h.pending()
	}
	return h.Source.Pending()
}

// until waits for what no channel tells.
func until(t testing.TB, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !happened(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("it does not happen: %s", what)
		}
	}
}

// spins runs f with rings that sleep as soon as they are dry, and with rings that
// are polled all the time.
func spins(t *testing.T, f func(t *testing.T, spin reactor.Option)) {
	t.Run("asleep", func(t *testing.T) { f(t, reactor.WithSpin(0)) })
	t.Run("hot", func(t *testing.T) { f(t, reactor.WithSpin(time.Hour)) })
}

// holds runs f with ends that spare doorbells and with ends that do not.
func holds(t *testing.T, f func(t *testing.T, hold sharedring.Option)) {
	for _, n := range []int{0, 1, 2} {
		t.Run(fmt.Sprintf("hold=%d", n), func(t *testing.T) { f(t, sharedring.WithHold(n)) })
	}
}

// repeat is fewer where loop and peer have to take turns on one processor: there a
// hot loop is only interrupted every 10 ms.
func repeat(n int) int {
	if min(runtime.GOMAXPROCS(0), runtime.NumCPU()) > 1 {
		return n
	}
	return max(n/20, 5)
}

// elsewhere runs f on another goroutine and waits for it.
func elsewhere(f func()) {
	var done sync.WaitGroup
	done.Go(f)
	done.Wait()
}

// noError is require.NoError for any goroutine.
func noError(t testing.TB, err error) {
	if err != nil {
		t.Helper()
		t.Error(err)
	}
}

// fdinfo returns the lines of a descriptor's file in /proc (proc_pid_fdinfo(5)).
func fdinfo(t testing.TB, fd int) string {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	require.NoError(t, err)
	return string(info)
}

// rung returns the counter of an eventfd without reading it.
func rung(t testing.TB, fd int) (n uint64) {
	for line := range strings.Lines(fdinfo(t, fd)) {
		if _, err := fmt.Sscanf(line, "eventfd-count: %x", &n); err == nil {
			return n
		}
	}
	t.Fatalf("descriptor %d is no eventfd", fd)
	return 0
}

// watches says whether fd is in the epoll set of the loop.
func (g *rig) watches(fd int) bool {
	for line := range strings.Lines(fdinfo(g.t, g.FD())) {
		var tfd int
		if _, err := fmt.Sscanf(line, "tfd: %d", &tfd); err == nil && tfd == fd {
			return true
		}
	}
	return false
}

var errTest = errors.New("test")
