package reactor

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// hotHarness polls for as long as a test takes.
func hotHarness(t *testing.T) *harness { return newHarness(t, WithSpin(time.Hour)) }

// await waits for an event that another goroutine brings about.
func await(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for !happened() {
		if err := t.Context().Err(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		runtime.Gosched() // on one processor the other goroutine needs it
	}
}

// heatUp attaches a ring that empties itself and waits until it is polled.
func (h *harness) heatUp(t *testing.T, f *fakeRing, hd Handler) *Registration {
	t.Helper()
	r := h.attach(f, hd)
	await(t, "hot", func() bool { return r.state.load() == phaseHot })
	return r
}

func TestHotRingNeedsNoDoorbell(t *testing.T) {
	h := hotHarness(t)
	h.run()
	f := h.ring()
	var armed, total atomic.Int64
	f.arm = func() error { armed.Add(1); return nil }
	h.heatUp(t, f, takeAll(f, &total))
	for i := int64(1); i <= 100; i++ {
		f.count.Add(1) // and no bell
		await(t, "service", func() bool { return total.Load() == i })
	}
	require.Zero(t, armed.Load())
	looks, waits := f.looks.Load(), h.Stats().Waits
	require.Less(t, int64(waits)*5, looks, "polling makes hardly a system call")
}

func TestDryRingIsArmed(t *testing.T) {
	h := newHarness(t, WithSpin(time.Microsecond), WithNap(0))
	h.run()
	f := h.ring()
	var armed, total atomic.Int64
	f.arm = func() error { armed.Add(1); return nil }
	h.attach(f, takeAll(f, &total))
	for i := int64(1); i <= 100; i++ {
		await(t, "armed", func() bool { return armed.Load() >= i })
		f.send(1)
		await(t, "service", func() bool { return total.Load() == i })
	}
}

func TestNoPollingWithoutSpin(t *testing.T) {
	h := newHarness(t, WithSpin(0), WithNap(0))
	h.run()
	f := h.ring()
	var armed, total atomic.Int64
	f.arm = func() error { armed.Add(1); return nil }
	r := h.attach(f, takeAll(f, &total))
	await(t, "armed", func() bool { return armed.Load() == 1 })
	await(t, "asleep", func() bool { return r.state.load() == phaseIdle })
	looks := f.looks.Load()
	h.do(func() {}) // the loop went round
	require.Equal(t, looks, f.looks.Load())
}

// A ring that never pays for being polled is left alone, more and more.
func TestUnluckyRingIsPolledLess(t *testing.T) {
	h := newHarness(t, WithSpin(time.Nanosecond), WithNap(0))
	h.run()
	f := h.ring()
	var total, armed atomic.Int64
	f.arm = func() error { armed.Add(1); return nil }
	r := h.attach(f, takeAll(f, &total))
	const rounds = 300
	for i := int64(1); i <= rounds; i++ {
		await(t, "armed", func() bool { return armed.Load() == i && r.state.load() == phaseIdle })
		f.send(1)
		await(t, "service", func() bool { return total.Load() == i })
	}
	await(t, "armed", func() bool { return armed.Load() == rounds+1 })
	// Two looks a turn are those of a ring that is armed at once: Pending and Arm.
	require.Less(t, f.looks.Load(), int64(2*rounds+4*20))
}

func TestDescriptorsAreSeenWhileRingsAreHot(t *testing.T) {
	h := hotHarness(t)
	h.run()
	f := h.ring()
	var total atomic.Int64
	h.heatUp(t, f, takeAll(f, &total))
	rd, w := h.pipe()
	var seen atomic.Int64
	h.register(rd, Readable|EdgeTriggered, Handler{Ready: func(Event) error {
		seen.Add(1)
		return nil
	}})
	_, err := unix.Write(w, []byte{1})
	require.NoError(t, err)
	await(t, "pipe", func() bool { return seen.Load() > 0 })
	done := false
	h.do(func() { done = true })
	require.True(t, done, "posts are run too")
}

func TestHotRingMeetsEverything(t *testing.T) {
	boom := errors.New("poisoned")
	for name, act := range map[string]func(*testing.T, *harness, *fakeRing, *Registration, *atomic.Int64){
		"Close": func(t *testing.T, h *harness, f *fakeRing, r *Registration, total *atomic.Int64) {
			require.NoError(t, r.Close())
			f.count.Add(1)
			h.do(func() {})
			h.do(func() {})
			require.Zero(t, total.Load(), "no callback after Close")
		},
		"Pause and Resume": func(t *testing.T, h *harness, f *fakeRing, r *Registration, total *atomic.Int64) {
			r.Pause()
			h.do(func() {})
			f.send(1)
			h.do(func() {})
			require.Zero(t, total.Load())
			require.NoError(t, r.Resume())
			await(t, "service", func() bool { return total.Load() == 1 })
		},
		"Resume": func(t *testing.T, h *harness, f *fakeRing, r *Registration, _ *atomic.Int64) {
			before := h.Stats().Services
			require.NoError(t, r.Resume())
			await(t, "a turn with nothing to take", func() bool { return h.Stats().Services > before })
		},
		"error from Pending": func(t *testing.T, h *harness, f *fakeRing, r *Registration, _ *atomic.Int64) {
			h.do(func() { f.pending = func() error { return boom } })
			await(t, "end", func() bool { return h.Stats().Ended == 1 })
		},
		"panic in Pending": func(t *testing.T, h *harness, f *fakeRing, r *Registration, _ *atomic.Int64) {
			h.do(func() { f.pending = func() error { panic(boom) } })
			await(t, "end", func() bool { return h.Stats().Ended == 1 })
		},
		"Loop.Close": func(t *testing.T, h *harness, f *fakeRing, r *Registration, _ *atomic.Int64) {
			require.NoError(t, h.Close())
			require.EqualValues(t, 1, h.Stats().Ended)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := hotHarness(t)
			h.run()
			f := h.ring()
			var total atomic.Int64
			hd := takeAll(f, &total)
			hd.Closed = func(err error) {
				var p *PanicError
				require.True(t, errors.Is(err, boom) || errors.As(err, &p) || errors.Is(err, ErrClosed), "%v", err)
			}
			r := h.heatUp(t, f, hd)
			act(t, h, f, r, &total)
		})
	}
}

// When Run ends nobody polls: what was hot must make the descriptor readable.
func TestHotRingsSurviveRun(t *testing.T) {
	h := hotHarness(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }()
	f := h.ring()
	var total atomic.Int64
	h.heatUp(t, f, takeAll(f, &total))
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	f.count.Add(1) // no bell: it was not armed
	require.True(t, h.readable())
	h.poll()
	require.EqualValues(t, 1, total.Load())
	f.send(1)
	require.True(t, h.readable(), "armed by Poll")
	h.poll()
	require.EqualValues(t, 2, total.Load())
}

func TestWakeCostIsSane(t *testing.T) {
	cost, err := measureWake()
	require.NoError(t, err)
	require.Positive(t, cost)
	require.LessOrEqual(t, defaultSpin(), maxSpin)
}
