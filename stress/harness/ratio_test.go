package harness

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// rounds returns one metric, round by round; NaN is a dropped round.
func roundsOf(m Metric, values ...float64) []map[Metric]float64 {
	var rounds []map[Metric]float64
	for _, v := range values {
		if math.IsNaN(v) {
			rounds = append(rounds, nil)
		} else {
			rounds = append(rounds, map[Metric]float64{m: v})
		}
	}
	return rounds
}

func info(t *testing.T, m Metric) metricInfo {
	t.Helper()
	i, ok := infoOf(m)
	require.True(t, ok)
	return i
}

func TestRatiosSayHowManyTimesBetter(t *testing.T) {
	high, low := info(t, MessagesPerSecond), info(t, ConsumerCPU)
	require.Equal(t, []float64{2, 3}, ratios(high, roundsOf(MessagesPerSecond, 20, 30), roundsOf(MessagesPerSecond, 10, 10)))
	require.Equal(t, []float64{0.5, 1. / 3}, ratios(low, roundsOf(ConsumerCPU, 20, 30), roundsOf(ConsumerCPU, 10, 10)))
}

func TestRatiosOfRoundsThatBothHave(t *testing.T) {
	low, none := info(t, Doorbells), math.NaN()
	for name, test := range map[string]struct{ a, b, want []float64 }{
		"dropped":        {[]float64{1, none, 1, 1}, []float64{2, 2, none, 4}, []float64{2, 4}},
		"one is shorter": {[]float64{1, 1}, []float64{2}, []float64{2}},
		"none at both":   {[]float64{0}, []float64{0}, []float64{1}},
		"none at one":    {[]float64{0, 5, 1}, []float64{5, 0, 3}, []float64{3}},
		"nothing left":   {[]float64{0, none}, []float64{5, 1}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, ratios(low, roundsOf(Doorbells, test.a...), roundsOf(Doorbells, test.b...)))
		})
	}
	require.Empty(t, ratios(info(t, P50), roundsOf(Doorbells, 1), roundsOf(Doorbells, 1)), "of a metric that neither has")
}

func TestBootstrapKnownAnswers(t *testing.T) {
	require.Equal(t, interval{3, 3, 3}, newBootstrap().of([]float64{3}))
	require.Equal(t, interval{3, 3, 3}, newBootstrap().of([]float64{3, 3, 3, 3}))
	// The median of a resample of 9 is at most the k-th value with the
	// probability of 5 hits or more in 9, each with k/9: 0.15 % for the first
	// value, 3.0 % for the second. So the 2.5 % are within the second.
	require.Equal(t, interval{5, 2, 8}, newBootstrap().of([]float64{9, 1, 8, 2, 7, 3, 6, 4, 5}))
	even := newBootstrap().of([]float64{1, 4})
	require.InDelta(t, 2, even.median, 1e-12, "the geometric mean of two")
	require.Equal(t, []float64{1, 4}, []float64{even.lo, even.hi})
}

func TestBootstrapOfTheInverseIsTheInverse(t *testing.T) {
	rs := []float64{0.5, 1.25, 3, 0.8, 2, 2.5, 7, 1}
	var inverse []float64
	for _, r := range rs {
		inverse = append(inverse, 1/r)
	}
	there, back := newBootstrap().of(rs), newBootstrap().of(inverse)
	require.InDelta(t, 1, there.median*back.median, 1e-12)
	require.InDelta(t, 1, there.lo*back.hi, 1e-12)
	require.InDelta(t, 1, there.hi*back.lo, 1e-12)
}

func TestBootstrapIsRepeatableAndLeavesItsInput(t *testing.T) {
	rs := []float64{4, 2, 8, 1, 3, 5}
	before := slices.Clone(rs)
	b := newBootstrap()
	first := b.of(rs)
	b.of([]float64{1, 2, 3})
	require.Equal(t, first, b.of(rs))
	require.Equal(t, first, newBootstrap().of(rs))
	require.Equal(t, before, rs)
	require.LessOrEqual(t, first.lo, first.median)
	require.GreaterOrEqual(t, first.hi, first.median)
}

func TestMedian(t *testing.T) {
	require.Equal(t, 2., median([]float64{3, 1, 2}))
	require.Equal(t, 2.5, median([]float64{4, 1, 3, 2}))
}

func TestEveryMetricIsInTheTable(t *testing.T) {
	seen := map[Metric]bool{}
	for _, i := range metrics {
		require.False(t, seen[i.metric], "%s twice", i.metric)
		require.NotEmpty(t, i.units)
		seen[i.metric] = true
	}
	for _, m := range []Metric{MessagesPerSecond, BytesPerSecond, NsPerMessage, ConsumerCPU, ProducerCPU, Doorbells,
		Waits, Switches, Allocs, P50, P99, P999, HeapPerRing, Wakeups} {
		require.True(t, seen[m], "%s", m)
	}
	_, ok := infoOf("beauty")
	require.False(t, ok)
}
