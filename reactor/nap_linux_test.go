package reactor

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestModeration(t *testing.T) {
	for _, test := range []struct {
		name         string
		nap          time.Duration
		napping      bool
		began        time.Duration
		barred       time.Duration
		wakes, turns int
		want         bool
	}{
		{name: "many wake-ups", nap: 1, wakes: 100, want: true},
		{name: "few wake-ups", nap: 1, wakes: 90},
		{name: "turned off", nap: 0, wakes: 100},
		{name: "barred by a stall", nap: 1, barred: time.Hour, wakes: 100},
		{name: "still worth it", nap: 1, napping: true, wakes: 12, turns: 50, want: true},
		{name: "not any more", nap: 1, napping: true, wakes: 12, turns: 49},
		{name: "naps that gather nothing", nap: 1, napping: true, wakes: 100, turns: 399},
		{name: "on trial", nap: 1, napping: true, began: 180 * time.Millisecond, wakes: 100, turns: 100, want: true},
	} {
		l := &Loop{nap: test.nap, now: 200 * time.Millisecond}
		l.moderation = moderation{napping: test.napping, began: test.began, barred: test.barred, since: 190 * time.Millisecond, wakes: test.wakes, turns: test.turns}
		l.moderate()
		require.Equal(t, test.want, l.moderation.napping, test.name)
		require.Equal(t, l.now, l.moderation.since, "%s: a new window", test.name)
		require.Zero(t, l.moderation.wakes+l.moderation.turns, test.name)
	}
	l := &Loop{nap: 1, now: napWindow - 1}
	l.moderation.wakes = 1_000_000
	l.moderate()
	require.False(t, l.moderation.napping, "a window has to pass")
}

// Each try that does not pay is followed by a longer time without naps.
func TestNapsThatDoNotPayAreTriedLess(t *testing.T) {
	l := &Loop{nap: 1}
	for _, want := range []time.Duration{minBar, 2 * minBar, 4 * minBar} {
		l.now += time.Minute
		l.moderation.napping, l.moderation.since = true, 0
		l.moderation.wakes, l.moderation.turns = 1_000_000, 1_000_000
		l.moderate()
		require.False(t, l.moderation.napping)
		require.Equal(t, l.now+want, l.moderation.barred)
	}
	l.now += time.Minute
	l.moderation.napping, l.moderation.since = true, l.now-napWindow
	l.moderation.wakes, l.moderation.turns = 10, 1000
	l.moderate()
	require.True(t, l.moderation.napping)
	require.Zero(t, l.moderation.bar, "naps that pay make good")
}

// beginNapping has the loop nap as after a burst of wake-ups, until further notice:
// its window has not begun.
func (h *harness) beginNapping() {
	h.do(func() { h.moderation = moderation{napping: true, since: time.Hour} })
}

// beginWindow lets the loop judge.
func (h *harness) beginWindow() {
	h.do(func() { h.moderation.since = 0 })
}

// In a napping loop rings are asked without a doorbell; when there is no more load
// they are armed, and the loop sleeps again.
func TestNappingLoopAsksItsRings(t *testing.T) {
	h := newHarness(t, WithSpin(time.Nanosecond), WithNap(10*time.Microsecond))
	h.run()
	f := h.ring()
	var total, armed atomic.Int64
	f.arm = func() error { armed.Add(1); return nil }
	h.attach(f, takeAll(f, &total))
	await(t, "asleep", func() bool { return armed.Load() == 1 })
	h.beginNapping()
	f.send(1)
	await(t, "service", func() bool { return total.Load() == 1 })
	f.count.Add(1) // no bell
	await(t, "service without a bell", func() bool { return total.Load() == 2 })
	require.EqualValues(t, 1, armed.Load())
	h.beginWindow()
	await(t, "armed when the load is over", func() bool { return armed.Load() > 1 })
	f.send(1)
	await(t, "service by a bell", func() bool { return total.Load() == 3 })
}

// bellRing tells how often it rang its peer.
type bellRing struct {
	*fakeRing
	rung atomic.Uint64
}

func (b *bellRing) Doorbells() uint64 { return b.rung.Load() }

func TestStallEndsNapping(t *testing.T) {
	h := newHarness(t, WithSpin(time.Nanosecond), WithNap(10*time.Microsecond))
	h.run()
	f := &bellRing{fakeRing: h.ring()}
	var total atomic.Int64
	hd := takeAll(f.fakeRing, &total)
	take := hd.Ready
	hd.Ready = func(ev Event) error {
		f.rung.Add(1) // its peer was waiting for room
		return take(ev)
	}
	h.attach(f, hd)
	h.beginNapping()
	f.send(1)
	await(t, "service", func() bool { return total.Load() == 1 })
	h.do(func() {
		require.False(t, h.moderation.napping)
		require.Greater(t, h.moderation.barred, h.now)
	})
}

// Descriptors and posts end a nap at once.
func TestPostEndsANap(t *testing.T) {
	h := newHarness(t, WithNap(time.Hour))
	h.run()
	f := h.ring()
	var total atomic.Int64
	h.beginNapping()
	h.attach(f, takeAll(f, &total))
	h.do(func() {})
	f.send(1)
	await(t, "service", func() bool { return total.Load() == 1 })
}
