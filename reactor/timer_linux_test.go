package reactor

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimersRunInOrder(t *testing.T) {
	h := newHarness(t)
	var order []time.Duration
	var timers [50]*Timer
	done := make(chan struct{})
	for i, ms := range rand.Perm(len(timers)) {
		var err error
		timers[i], err = h.AfterFunc(time.Duration(ms)*time.Millisecond, func() {
			if order = append(order, timers[i].when); len(order) == len(timers) {
				close(done)
			}
		})
		require.NoError(t, err)
	}
	h.run()
	<-done
	require.IsNonDecreasing(t, order)
}

func TestTimerMakesFDReadable(t *testing.T) {
	h := newHarness(t)
	var ran int
	_, err := h.AfterFunc(0, func() { ran++ })
	require.NoError(t, err)
	await(t, "readable", h.readable)
	require.Equal(t, 1, h.poll())
	require.Equal(t, 1, ran)
	require.False(t, h.readable())
}

func TestTimerWakesASleepingPoll(t *testing.T) {
	h := newHarness(t)
	_, err := h.AfterFunc(time.Millisecond, func() {})
	require.NoError(t, err)
	n := 0
	for n == 0 {
		n, err = h.Poll(-1)
		require.NoError(t, err)
	}
	require.Equal(t, 1, n)
}

func TestEarlierTimerOvertakes(t *testing.T) {
	h := newHarness(t)
	_, err := h.AfterFunc(time.Hour, func() { t.Error("an hour has not passed") })
	require.NoError(t, err)
	h.run()
	done := make(chan struct{})
	_, err = h.AfterFunc(time.Millisecond, func() { close(done) })
	require.NoError(t, err)
	<-done
}

func TestTimerStop(t *testing.T) {
	h := newHarness(t)
	stopped, err := h.AfterFunc(time.Millisecond, func() { t.Error("was stopped") })
	require.NoError(t, err)
	require.True(t, stopped.Stop())
	require.False(t, stopped.Stop())
	h.run()
	done := make(chan struct{})
	last, err := h.AfterFunc(2*time.Millisecond, func() { close(done) })
	require.NoError(t, err)
	<-done
	require.False(t, last.Stop())
}

func TestTimerReset(t *testing.T) {
	h := newHarness(t)
	h.run()
	var ticks atomic.Int64
	done := make(chan struct{})
	var tick *Timer
	h.do(func() {
		var err error
		tick, err = h.AfterFunc(time.Microsecond, func() {
			if ticks.Add(1) == 10 {
				close(done)
				return
			}
			if err := tick.Reset(time.Microsecond); err != nil {
				t.Error(err)
			}
		})
		require.NoError(t, err)
	})
	<-done
	waiting, err := h.AfterFunc(time.Hour, func() { ticks.Add(1) })
	require.NoError(t, err)
	require.NoError(t, waiting.Reset(0))
	await(t, "reset", func() bool { return ticks.Load() == 11 })
}

func TestTimerPanicIsCaught(t *testing.T) {
	h := newHarness(t)
	h.run()
	_, err := h.AfterFunc(0, func() { panic("in a timer") })
	require.NoError(t, err)
	await(t, "panic", func() bool { return h.Stats().Panics == 1 })
}

func TestTimersAndClose(t *testing.T) {
	h := newHarness(t)
	waiting, err := h.AfterFunc(time.Hour, func() { t.Error("dropped by Close") })
	require.NoError(t, err)
	require.NoError(t, h.Close())
	require.ErrorIs(t, waiting.Reset(0), ErrClosed)
	_, err = h.AfterFunc(0, func() {})
	require.ErrorIs(t, err, ErrClosed)
	waiting.Stop()
}

func TestTimerNilFunction(t *testing.T) {
	h := newHarness(t)
	_, err := h.AfterFunc(0, nil)
	require.ErrorIs(t, err, ErrInvalid)
}
