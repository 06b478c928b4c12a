package harness

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const brief = 5 * time.Millisecond

func TestWindowOfOneGoroutine(t *testing.T) {
	w := NewWindow(Params{Duration: brief})
	w.Start(t.Context())
	var check Check
	var bells uint64
	w.Count(Doorbells, func() uint64 { return bells })
	seq := uint64(0)
	for more := true; more; seq += 4 {
		for i := range uint64(4) {
			check.See(seq + i)
		}
		bells += 2
		more = w.Add(4, 256)
	}
	r, err := w.Result(&check)
	require.NoError(t, err)
	n := r.Metrics[MessagesPerSecond]
	require.Positive(t, n)
	require.InEpsilon(t, 64*n, r.Metrics[BytesPerSecond], 1e-9)
	require.InEpsilon(t, 1e9, n*r.Metrics[NsPerMessage], 1e-9)
	require.InEpsilon(t, 0.5, r.Metrics[Doorbells], 1e-9, "count and totals are of the same moment")
	require.Positive(t, r.Metrics[ConsumerCPU])
	require.Contains(t, r.Metrics, Switches)
	require.Contains(t, r.Metrics, Allocs)
	require.NotContains(t, r.Metrics, ProducerCPU)
	require.Nil(t, r.Latency)
	require.Zero(t, r.Lost+r.Duplicated+r.Reordered)
}

func TestWindowLeavesTheWarmUpOut(t *testing.T) {
	w := NewWindow(Params{Duration: brief})
	for range 1000 {
		w.Record(time.Hour)
		require.True(t, w.Add(1000, 1000))
	}
	w.phase.Store(measuring)
	require.True(t, w.Add(3, 30))
	w.Record(7)
	w.Record(7)
	require.True(t, w.Add(4, 40))
	w.phase.Store(over)
	require.False(t, w.Add(5, 50))
	w.Record(time.Hour)
	require.False(t, w.Add(6, 60))
	close(w.done)
	r, err := w.Result(&Check{Lost: 1, Duplicated: 2, Reordered: 3}, &Check{Lost: 10})
	require.NoError(t, err)
	require.InEpsilon(t, 10, r.Metrics[BytesPerSecond]/r.Metrics[MessagesPerSecond], 1e-9)
	seconds := w.marks[over].at.Sub(w.marks[measuring].at).Seconds()
	require.InEpsilon(t, 7/seconds, r.Metrics[MessagesPerSecond], 1e-9)
	require.EqualValues(t, 2, r.Latency.TotalCount())
	require.EqualValues(t, 7, r.Latency.Max())
	require.Equal(t, []uint64{11, 2, 3}, []uint64{r.Lost, r.Duplicated, r.Reordered})
}

// Messages may take longer than the window is meant to.
func TestWindowHasAMessage(t *testing.T) {
	w := NewWindow(Params{Duration: 1})
	w.Start(t.Context())
	var check Check
	seq := uint64(0)
	for more := true; more; seq++ {
		for begin := SelfCPU(); SelfCPU() < begin+3*time.Millisecond; {
		}
		check.See(seq)
		more = w.Add(1, 1)
	}
	r, err := w.Result(&check)
	require.NoError(t, err)
	require.GreaterOrEqual(t, r.Metrics[ConsumerCPU], float64(3*time.Millisecond))
}

// A goroutine that is silent around the ends of the window must neither lose
// what it counted within nor bring in what it counted outside.
func TestCountersOfManyGoroutines(t *testing.T) {
	w := NewWindow(Params{Duration: brief})
	busy, silent, missed, late := w.NewCounter(), w.NewCounter(), w.NewCounter(), w.NewCounter()
	silent.Add(100, 0) // and in the warm-up only
	missed.Add(100, 0)
	w.phase.Store(measuring)
	busy.Add(3, 0)
	w.phase.Store(over)
	missed.Add(100, 0) // in no call of the measured phase
	late.Add(100, 0)   // nor this
	close(w.done)
	r, err := w.Result(&Check{})
	require.NoError(t, err)
	seconds := w.marks[over].at.Sub(w.marks[measuring].at).Seconds()
	require.InEpsilon(t, 3/seconds, r.Metrics[MessagesPerSecond], 1e-9)
}

func TestWindowOfManyGoroutines(t *testing.T) {
	w := NewWindow(Params{Duration: brief})
	w.Start(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for c := w.NewCounter(); c.Add(1, 8); c.Record(100) {
				runtime.Gosched()
			}
		})
	}
	<-w.Done()
	wg.Wait()
	r, err := w.Result(&Check{})
	require.NoError(t, err)
	require.Positive(t, r.Metrics[MessagesPerSecond])
	require.Positive(t, r.Latency.TotalCount())
}

func TestWindowOfSilence(t *testing.T) {
	w := NewWindow(Params{Duration: brief})
	var wakeups uint64
	w.Count(Wakeups, func() uint64 { wakeups += 5; return wakeups })
	w.Start(t.Context())
	r, err := w.Result()
	require.NoError(t, err)
	require.Positive(t, r.Metrics[Wakeups])
	require.NotContains(t, r.Metrics, MessagesPerSecond)
	_, err = w.Result(&Check{})
	require.ErrorContains(t, err, "no message")
}

func TestWindowEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := NewWindow(Params{Duration: time.Hour})
	w.Start(ctx)
	cancel()
	for w.Add(1, 1) {
	}
	_, err := w.Result(&Check{})
	require.ErrorContains(t, err, "early")
}

func TestWindowCountsAllocationsExactly(t *testing.T) {
	w := NewWindow(Params{Duration: brief})
	w.phase.Store(measuring)
	w.Add(0, 0)
	for range 1000 {
		sink = new([64]byte)
		w.Add(1, 1)
	}
	w.phase.Store(over)
	w.Add(0, 0)
	close(w.done)
	r, err := w.Result(&Check{})
	require.NoError(t, err)
	require.GreaterOrEqual(t, r.Metrics[Allocs], 1.)
	require.Less(t, r.Metrics[Allocs], 2.)
}

var sink *[64]byte

func TestSelfCPUCountsAllThreads(t *testing.T) {
	before := SelfCPU()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for SelfCPU() < before+10*time.Millisecond {
			}
		})
	}
	wg.Wait()
	require.GreaterOrEqual(t, SelfCPU(), before+10*time.Millisecond)
	switches := SelfSwitches()
	for SelfSwitches() == switches {
		time.Sleep(time.Microsecond) // to give the CPU away is what is counted
	}
}

func BenchmarkAdd(b *testing.B) {
	w := NewWindow(Params{Duration: time.Hour})
	b.ReportAllocs()
	for range b.N {
		w.Add(1, 64)
	}
}

func BenchmarkRecord(b *testing.B) {
	w := NewWindow(Params{Duration: time.Hour})
	w.phase.Store(measuring)
	w.Add(1, 1)
	b.ReportAllocs()
	for range b.N {
		w.Record(1234)
	}
}

func BenchmarkSee(b *testing.B) {
	var c Check
	for seq := range uint64(b.N) {
		c.See(seq)
	}
}
