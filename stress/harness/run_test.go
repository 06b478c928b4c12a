package harness

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A fakeRun measures nothing: each block gives 10 messages a second, and robs
// says which of them, from 0, have their CPU time stolen.
type fakeRun struct {
	order  []string
	blocks []Params
	robs   func(block int) bool
	fails  map[string]error
}

func (f *fakeRun) run(rounds int, sizes []int, arms ...Arm) *run {
	set := settings{
		scenario: Scenario{Name: "fake", Arms: arms}, arms: arms, sizes: sizes, rounds: rounds,
		params: Params{Rings: 7, Duration: time.Duration(rounds) * time.Second},
	}
	return &run{settings: set, measure: f.measure, ticks: f.ticks(), progress: progress{out: io.Discard}}
}

func (f *fakeRun) measure(_ context.Context, arm Arm, p Params) (Result, error) {
	f.order = append(f.order, arm.Name)
	f.blocks = append(f.blocks, p)
	h := NewHistogram()
	record(h, time.Microsecond)
	return Result{
		Metrics: map[Metric]float64{MessagesPerSecond: 10}, Latency: h,
		Lost: 1, Duplicated: 2, Reordered: 3, Notes: []string{"note", "note of " + arm.Name},
	}, f.fails[arm.Name]
}

// ticks is read before and after each block.
func (f *fakeRun) ticks() func() (cpuTicks, error) {
	var now cpuTicks
	return func() (cpuTicks, error) {
		if block := len(f.order) - 1; block >= 0 && f.robs != nil && f.robs(block) {
			now.stolen += 50
		}
		now.all += 100
		return now, nil
	}
}

func named(names ...string) []Arm {
	var arms []Arm
	for _, name := range names {
		arms = append(arms, Arm{Name: name})
	}
	return arms
}

func TestBlocksAlternate(t *testing.T) {
	var f fakeRun
	all, err := f.run(4, []int{64, 128}, named("a", "b", "c")...).do(t.Context())
	require.NoError(t, err)
	const size = "a b c c b a a b c c b a"
	require.Equal(t, size+" "+size, strings.Join(f.order, " "))
	for i, p := range f.blocks {
		require.Equal(t, Params{Size: []int{64, 128}[i/12], Rings: 7, Duration: time.Second}, p)
	}
	require.Len(t, all, 6)
	for _, s := range all {
		require.Equal(t, 4, s.blocks())
		require.Zero(t, s.dropped)
		require.Equal(t, []uint64{4, 8, 12}, []uint64{s.lost, s.duplicated, s.reordered})
		require.EqualValues(t, 4, s.latency.TotalCount())
		require.Equal(t, []string{"note", "note of " + s.arm.Name}, s.notes)
	}
}

func TestStolenBlockIsRepeated(t *testing.T) {
	f := fakeRun{robs: func(block int) bool { return block == 0 || block == 1 }}
	all, err := f.run(2, []int{64}, named("a", "b")...).do(t.Context())
	require.NoError(t, err)
	require.Equal(t, "a a a b b a", strings.Join(f.order, " "))
	require.Equal(t, 2, all[0].dropped)
	require.Equal(t, 2, all[0].blocks())
	require.EqualValues(t, 2, all[0].latency.TotalCount(), "latencies of dropped blocks do not count")
	require.EqualValues(t, 4, all[0].lost, "losses of dropped blocks do")
	require.Zero(t, all[1].dropped)
}

func TestRoundIsDroppedAfterThreeBlocks(t *testing.T) {
	f := fakeRun{robs: func(block int) bool { return block < 3 }}
	all, err := f.run(2, []int{64}, named("a", "b")...).do(t.Context())
	require.NoError(t, err)
	require.Equal(t, "a a a b b a", strings.Join(f.order, " "))
	a, b := all[0], all[1]
	require.Equal(t, []int{3, 1}, []int{a.dropped, a.blocks()})
	require.Nil(t, a.rounds[0])
	require.NotNil(t, a.rounds[1])
	require.Equal(t, 2, b.blocks())
	require.Len(t, ratios(info(t, MessagesPerSecond), a.rounds, b.rounds), 1, "the round that both have")
}

func TestArmWithNothingLeftHasNoMetrics(t *testing.T) {
	f := fakeRun{robs: func(int) bool { return true }}
	all, err := f.run(2, []int{64}, named("a")...).do(t.Context())
	require.NoError(t, err)
	require.Equal(t, 6, all[0].dropped)
	require.Zero(t, all[0].blocks())
	require.EqualValues(t, 6, all[0].lost, "losses of dropped blocks count")
	require.Contains(t, strings.Join(all[0].notes, " "), "stolen in each of its 6 blocks")
	require.Empty(t, pairs(all))
}

func TestFailedArmLeavesTheOthersAlone(t *testing.T) {
	broken := errors.New("broken")
	f := fakeRun{fails: map[string]error{"b": broken}}
	all, err := f.run(2, []int{64, 128}, named("a", "b", "c")...).do(t.Context())
	require.NoError(t, err)
	require.Equal(t, "a b c c a a b c c a", strings.Join(f.order, " "), "once at each size")
	require.ErrorIs(t, all[1].failed, broken)
	require.ErrorIs(t, verdict(all), broken)
	require.NotContains(t, namesOf(pairs(all)), "b")
}

func TestSkippedArm(t *testing.T) {
	var f fakeRun
	arms := named("a", "b")
	arms[1].Skip = func(p Params) string {
		if p.Size == 128 {
			return "too large"
		}
		return ""
	}
	all, err := f.run(2, []int{64, 128}, arms...).do(t.Context())
	require.NoError(t, err)
	require.Equal(t, "a b b a a a", strings.Join(f.order, " "))
	require.Empty(t, all[1].skipped)
	require.Equal(t, "too large", all[3].skipped)
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var f fakeRun
	r := f.run(2, []int{64}, named("a", "b")...)
	r.measure = func(ctx context.Context, arm Arm, p Params) (Result, error) {
		cancel()
		return f.measure(ctx, arm, p)
	}
	_, err := r.do(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"a"}, f.order)
}

func TestRoundsFor(t *testing.T) {
	for d, want := range map[time.Duration]int{
		1: 4, 100 * time.Millisecond: 4, 299 * time.Millisecond: 4, 300 * time.Millisecond: 6,
		450 * time.Millisecond: 8, time.Second: 10, time.Hour: 10,
	} {
		require.Equal(t, want, roundsFor(Scenario{}, d, false), "%v", d)
	}
	require.Equal(t, 4, roundsFor(Scenario{}, time.Hour, true))
	require.Equal(t, 3, roundsFor(Scenario{Rounds: 3}, time.Hour, true))
}

func TestValueIsTheMedianOfTheRounds(t *testing.T) {
	s := &series{rounds: append(roundsOf(P50, 9, 9, 9), roundsOf(Waits, 1, 3)...)}
	v, ok := s.value(Waits)
	require.True(t, ok)
	require.Equal(t, 2., v)
	_, ok = s.value(Allocs)
	require.False(t, ok)
	s.latency = NewHistogram()
	record(s.latency, 5)
	v, ok = s.value(P50)
	require.True(t, ok)
	require.Equal(t, 5., v, "quantiles are those of all latencies together")
}

// namesOf returns the arms that pairs have.
func namesOf(pairs []pair) []string {
	var names []string
	for _, p := range pairs {
		names = append(names, p.a.arm.Name, p.b.arm.Name)
	}
	return names
}

func TestPairsAreEveryOrderedPairOfASize(t *testing.T) {
	var f fakeRun
	all, err := f.run(2, []int{64, 128}, named("a", "b", "c")...).do(t.Context())
	require.NoError(t, err)
	found := map[string]int{}
	for _, p := range pairs(all) {
		require.Equal(t, p.a.size, p.b.size)
		require.Equal(t, interval{1, 1, 1}, p.interval)
		found[string(p.metric)]++
	}
	require.Equal(t, map[string]int{"msgs_per_s": 12, "p50_ns": 12, "p99_ns": 12, "p999_ns": 12}, found)
}

func TestVerdict(t *testing.T) {
	s := &series{arm: Arm{Name: "a"}, size: 64}
	require.NoError(t, verdict([]*series{s}))
	s.skipped = "why not"
	require.NoError(t, verdict([]*series{s}))
	for _, s := range []*series{{lost: 1}, {duplicated: 1}, {reordered: 1}, {failed: errors.New("x")}} {
		require.Error(t, verdict([]*series{s}))
	}
}
