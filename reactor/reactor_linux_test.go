package reactor

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func newReactor(t *testing.T, loops int) (*Reactor, *harness) {
	r, err := New(loops)
	require.NoError(t, err)
	h := newHarness(t) // its fakes; its own loop stays idle
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r, h
}

func TestReactorPlacesOnTheLeastLoaded(t *testing.T) {
	r, h := newReactor(t, 3)
	require.Len(t, r.Loops(), 3)
	var regs []*Registration
	for range 9 {
		f := h.ring()
		reg, err := r.Attach(f, nothing(t))
		require.NoError(t, err)
		regs = append(regs, reg)
	}
	for _, l := range r.Loops() {
		require.Equal(t, 3, l.Registered())
	}
	require.NoError(t, regs[1].Close())
	require.Equal(t, r.Loops()[1], r.Least())
	rd, _ := h.pipe()
	_, err := r.Register(rd, Readable, nothing(t))
	require.NoError(t, err)
	require.Equal(t, 3, r.Loops()[1].Registered())
	require.Equal(t, 9, r.Stats().Registered)
}

func TestReactorRunsAllLoops(t *testing.T) {
	r, h := newReactor(t, 2)
	var total atomic.Int64
	rings := make([]*fakeRing, 10)
	for i := range rings {
		rings[i] = h.ring()
		_, err := r.Attach(rings[i], takeAll(rings[i], &total))
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	for i := int64(1); i <= 100; i++ {
		rings[i%10].send(1)
		await(t, "service", func() bool { return total.Load() == i })
	}
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	go func() { done <- r.Run(context.Background()) }() // it can be run again
	rings[0].send(1)
	await(t, "service", func() bool { return total.Load() == 101 })
	require.NoError(t, r.Close())
	require.ErrorIs(t, <-done, ErrClosed)
	require.ErrorIs(t, r.Run(context.Background()), ErrClosed)
}

func TestReactorStopsAllWhenOneFails(t *testing.T) {
	r, _ := newReactor(t, 2)
	done := make(chan error)
	go func() { done <- r.Run(context.Background()) }()
	require.NoError(t, r.Loops()[1].Close())
	require.ErrorIs(t, <-done, ErrClosed)
}

func TestReactorDefaultsToProcessors(t *testing.T) {
	r, _ := newReactor(t, 0)
	require.NotEmpty(t, r.Loops())
}
