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
		barred       time.Duration
		edges, turns int
		brought      int
		want         bool
	}{
		{name: "many edges", nap: 1, edges: 100, want: true},
		{name: "few edges", nap: 1, edges: 90},
		{name: "turned off", nap: 0, edges: 100},
		{name: "barred by a stall", nap: 1, barred: time.Hour, edges: 100},
		{name: "still worth it", nap: 1, napping: true, edges: 50, turns: 50, brought: 12, want: true},
		{name: "not any more", nap: 1, napping: true, edges: 12, turns: 49, brought: 12},
		{name: "requests one by one", nap: 1, napping: true, edges: 100, turns: 399, brought: 100},
	} {
		l := &Loop{nap: test.nap, now: 200 * time.Millisecond}
		l.moderation = moderation{napping: test.napping, barred: test.barred, since: 190 * time.Millisecond, edges: test.edges, turns: test.turns, brought: test.brought}
		l.moderate()
		require.Equal(t, test.want, l.moderation.napping, test.name)
		require.Equal(t, l.now, l.moderation.since, "%s: a new window", test.name)
		require.Zero(t, l.moderation.edges+l.moderation.turns+l.moderation.brought, test.name)
	}
	l := &Loop{nap: 1, now: napWindow - 1}
	l.moderation.edges = 1_000_000
	l.moderate()
	require.False(t, l.moderation.napping, "a window has to pass")
}

// Each try that does not pay is followed by a longer time without naps.
func TestNapsThatDoNotPayAreTriedLess(t *testing.T) {
	l := &Loop{nap: 1}
	for _, want := range []time.Duration{minBar, 2 * minBar, 4 * minBar} {
		l.now += time.Minute
		l.moderation.napping, l.moderation.since = true, 0
		l.moderation.turns, l.moderation.brought = 1_000_000, 1_000_000
		l.moderate()
		require.False(t, l.moderation.napping)
		require.Equal(t, l.now+want, l.moderation.barred)
	}
	l.now += time.Minute
	l.moderation.napping, l.moderation.since = true, l.now-napWindow
	l.moderation.turns, l.moderation.brought = 1000, 10
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
	r := h.attach(f, takeAll(f, &total))
	await(t, "asleep", func() bool { return armed.Load() == 1 })
	h.beginNapping()
	empty := func() bool { return f.count.Load() == 0 }
	phase := func() uint32 { return r.state.load() & phaseMask }
	for {
		f.send(1)
		await(t, "service", empty)
		await(t, "the end of the turn", func() bool { return phase() == phaseHot || phase() == phaseIdle })
		before := armed.Load()
		if phase() != phaseHot {
			continue // it sleeps through a few dry spells before it is polled again
		}
		f.count.Add(1) // no bell
		await(t, "service without a bell", func() bool { return empty() || armed.Load() > before })
		if armed.Load() == before {
			break
		}
		ringBell(t, f.bell) // this test was held up for longer than a ring stays hot
		await(t, "service", empty)
	}
	before := armed.Load()
	h.beginWindow()
	await(t, "armed when the load is over", func() bool { return armed.Load() > before })
	n := total.Load()
	f.send(1)
	await(t, "service by a bell", func() bool { return total.Load() > n })
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

// A nap ends by itself: a post needs no wake-up.
func TestPostInANap(t *testing.T) {
	h := newHarness(t)
	h.run()
	h.beginNapping()
	before := h.Stats().Wakes
	for range 10 {
		h.do(func() {})
	}
	require.Equal(t, before, h.Stats().Wakes)
}

// A ring that is mostly dry is not asked after each nap, but armed, and told by its bell.
func TestNappingLoopArmsSlowRings(t *testing.T) {
	h := newHarness(t, WithSpin(0), WithNap(10*time.Microsecond))
	h.run()
	f := h.ring()
	var total, armed atomic.Int64
	f.arm = func() error { armed.Add(1); return nil }
	h.attach(f, takeAll(f, &total))
	await(t, "asleep", func() bool { return armed.Load() == 1 })
	h.beginNapping()
	for i := int64(1); i <= 20; i++ {
		f.send(1)
		await(t, "service", func() bool { return total.Load() == i })
		await(t, "armed", func() bool { return armed.Load() == i+1 })
	}
	require.Less(t, h.Stats().Services, uint64(60))
}
