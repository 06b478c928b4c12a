package reactor

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPostRunsInOrder(t *testing.T) {
	h := newHarness(t)
	var ran []int
	for i := range 100 {
		require.NoError(t, h.Post(func() { ran = append(ran, i) }))
	}
	n, err := h.Poll(0)
	require.NoError(t, err)
	require.Equal(t, 100, n)
	for i := range ran {
		require.Equal(t, i, ran[i])
	}
	require.ErrorIs(t, h.Post(nil), ErrInvalid)
}

// Many posts from many goroutines wake the loop once, while it does not look.
func TestPostCoalescesWakes(t *testing.T) {
	h := newHarness(t)
	var ran atomic.Int32
	var posters sync.WaitGroup
	for range 8 {
		posters.Go(func() {
			for range 100 {
				noError(t, h.Post(func() { ran.Add(1) }))
			}
		})
	}
	posters.Wait()
	require.EqualValues(t, 1, h.Stats().Wakes)
	require.Equal(t, 800, h.poll())
	require.EqualValues(t, 800, ran.Load())
	require.EqualValues(t, 800, h.Stats().Posts)
}

// A loop that is awake needs no wake: posts out of a callback cost no system
// call in Run.
func TestPostFromTheLoopNeedsNoWake(t *testing.T) {
	h := newHarness(t)
	done := make(chan bool)
	left := 1000
	var again func()
	again = func() {
		if left--; left == 0 {
			close(done)
			return
		}
		noError(t, h.Post(again))
	}
	require.NoError(t, h.Post(again))
	h.run()
	<-done
	require.EqualValues(t, 1, h.Stats().Wakes)
}

// A post that comes after a long wait ended, by another event, and before the
// loop looked at its inbox: its own edge brings it, and leaves nothing behind.
func TestPostBetweenWaitAndInbox(t *testing.T) {
	h := newHarness(t)
	_, err := h.beforeWait(-1)
	require.NoError(t, err)
	require.NoError(t, h.Post(func() {}))
	require.EqualValues(t, 1, h.Stats().Wakes)
	h.afterWait(nil)
	h.runPosts()
	require.NoError(t, h.Post(func() {}), "the loop is awake")
	require.EqualValues(t, 1, h.Stats().Wakes)
	require.True(t, h.readable())
	n, err := h.Poll(0)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.False(t, h.readable())

	_, err = h.beforeWait(-1)
	require.NoError(t, err)
	h.afterWait(nil)
	require.NoError(t, h.Post(func() {}))
	require.EqualValues(t, 1, h.Stats().Wakes, "awake after a long wait, too")
}

func TestPostFromManyGoroutines(t *testing.T) {
	h := newHarness(t)
	h.run()
	ran := 0
	var posters sync.WaitGroup
	for range 8 {
		posters.Go(func() {
			for range 500 {
				noError(t, h.Post(func() { ran++ }))
			}
		})
	}
	posters.Wait()
	h.do(func() {})
	require.Equal(t, 4000, ran)
}

// Posts that post do not keep the loop from the rest.
func TestPostDoesNotStarveRings(t *testing.T) {
	h := newHarness(t)
	stop := false
	var again func()
	again = func() {
		if !stop {
			noError(t, h.Post(again))
		}
	}
	require.NoError(t, h.Post(again))
	f := h.ring()
	h.attach(f, Handler{Ready: func(Event) error {
		stop = f.take(1) > 0
		return nil
	}})
	f.send(1)
	for range 3 {
		_, err := h.Poll(0)
		require.NoError(t, err)
	}
	require.True(t, stop)
}

func TestRunStopsAndGoesOn(t *testing.T) {
	h := newHarness(t)
	f := h.ring()
	var total atomic.Int64
	h.attach(f, takeAll(f, &total))
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		if i%2 == 0 {
			h.do(func() {})
		}
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		f.send(1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, h.Run(ctx), context.Canceled)
	h.poll()
	require.EqualValues(t, 20, total.Load())
	require.False(t, h.readable(), "nothing of the contexts is left")
}

func TestOneDriverAtATime(t *testing.T) {
	h := newHarness(t)
	require.NoError(t, h.Post(func() {
		_, err := h.Poll(0)
		require.ErrorIs(t, err, ErrRunning)
		require.ErrorIs(t, h.Run(t.Context()), ErrRunning)
	}))
	require.Equal(t, 1, h.poll())

	h.run()
	h.do(func() {})
	_, err := h.Poll(0)
	require.ErrorIs(t, err, ErrRunning)
	require.ErrorIs(t, h.Run(t.Context()), ErrRunning)
}
