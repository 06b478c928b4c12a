package reactor_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// fleet is many attached rings, of which the first can be spoken on.
type fleet struct {
	*reactor.Reactor
	rings []*sharedring.Receiver[uint64]
	regs  []*reactor.Registration
	first *sharedring.Sender[uint64]
	heard chan uint64
	stop  func()
}

// newFleet attaches silent rings to two loops and waits until all are asleep.
func newFleet(t testing.TB, rings int) *fleet {
	t.Helper()
	allowDescriptors(t, 2*rings+200)
	r, err := reactor.New(2)
	require.NoError(t, err)
	f := &fleet{Reactor: r, heard: make(chan uint64, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	f.stop = func() {
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.NoError(t, r.Close())
	}
	var asleep atomic.Int64
	for i := range rings {
		f.add(t, i, &asleep)
	}
	for int(asleep.Load()) < rings { // each had its first turn
		runtime.Gosched()
	}
	return f
}

func (f *fleet) add(t testing.TB, i int, asleep *atomic.Int64) {
	h, err := sharedring.Create(504, 8)
	require.NoError(t, err)
	if i == 0 {
		other, err := h.Dup()
		require.NoError(t, err)
		f.first, err = sharedring.OpenSender[uint64](other)
		require.NoError(t, err)
	}
	rx, err := sharedring.OpenReceiver[uint64](h)
	require.NoError(t, err)
	f.rings = append(f.rings, rx)
	reg, err := f.Attach(counted{rx, asleep}, reactor.Handler{Ready: func(reactor.Event) error {
		var buf [16]uint64
		n, err := rx.Receive(buf[:])
		for _, v := range buf[:n] {
			f.heard <- v
		}
		return err
	}})
	require.NoError(t, err)
	f.regs = append(f.regs, reg)
}

// counted counts the first time that a ring is put to sleep.
type counted struct {
	*sharedring.Receiver[uint64]
	asleep *atomic.Int64
}

func (c counted) Arm() (bool, error) {
	pending, err := c.Receiver.Arm()
	if !pending && err == nil {
		c.asleep.Add(1)
	}
	return pending, err
}

func (f *fleet) close(t testing.TB) {
	f.stop()
	require.NoError(t, f.first.Close())
	for _, rx := range f.rings {
		require.NoError(t, rx.Close())
	}
}

// allowDescriptors raises the soft limit, and the hard one where it may.
func allowDescriptors(t testing.TB, n int) {
	t.Helper()
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	need := uint64(n)
	if limit.Cur >= need {
		return
	}
	old := limit
	limit.Cur, limit.Max = need, max(limit.Max, need)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Skipf("%d descriptors are needed, %d are allowed here (ulimit -Hn): %v", n, old.Max, err)
	}
}

// 9,000 rings on two loops: one is heard among the silent ones, all are let go of
// without a trace, and each costs little heap.
func TestNineThousandRings(t *testing.T) {
	const rings = 9000
	before := heap()
	f := newFleet(t, rings)
	perRing := (int64(heap()) - int64(before)) / rings
	t.Logf("%d bytes of heap a ring", perRing)
	require.LessOrEqual(t, perRing, int64(1024))
	require.Equal(t, rings, f.Stats().Registered)
	services := f.Stats().Services
	for i := range uint64(100) {
		_, err := f.first.Send([]uint64{i})
		require.NoError(t, err)
		require.Equal(t, i, <-f.heard)
	}
	require.LessOrEqual(t, f.Stats().Services-services, uint64(2*100), "nobody else was asked")
	for _, reg := range f.regs {
		require.NoError(t, reg.Close())
	}
	require.Zero(t, f.Stats().Registered)
	f.close(t)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkOneOfMany is the time from a send on one ring, the others silent, until
// its callback has answered. Run it long: the rings are made anew each time.
func BenchmarkOneOfMany(b *testing.B) {
	for _, rings := range []int{16, 1000, 9000} {
		b.Run(fmt.Sprintf("rings=%d", rings), func(b *testing.B) {
			f := newFleet(b, rings)
			defer f.close(b)
			b.ResetTimer()
			b.ReportAllocs()
			for i := range uint64(b.N) {
				if _, err := f.first.Send([]uint64{i}); err != nil {
					b.Fatal(err)
				}
				<-f.heard
			}
			b.StopTimer()
		})
	}
}

// BenchmarkIdle reports how often the loops wake up with 9,000 silent rings, over
// the time in SHMLOOP_IDLE (default 100ms).
func BenchmarkIdle(b *testing.B) {
	d, err := time.ParseDuration(os.Getenv("SHMLOOP_IDLE"))
	if err != nil {
		d = 100 * time.Millisecond
	}
	before := heap()
	f := newFleet(b, 9000)
	defer f.close(b)
	b.ReportMetric(float64(heap()-before)/9000, "heap-B/ring")
	b.ResetTimer()
	waits := f.Stats().Waits
	for range b.N {
		<-time.After(d)
	}
	b.StopTimer()
	b.ReportMetric(float64(f.Stats().Waits-waits)/(d.Seconds()*float64(b.N)), "wakeups/s")
}
