package harness

import (
	"math"
	"math/rand/v2"
	"slices"
)

const (
	resampleCount = 2000
	resampleSeed  = 1 // fixed: the same measurements give the same interval
	outside       = 0.025
)

// An interval is a median and its 95 % interval.
type interval struct{ median, lo, hi float64 }

// ratios returns, round by round, how many times better a is than b. Rounds
// that one of them lacks are left out, and those where the ratio is not a
// number above 0: nothing can be said of 5 against 0, but 0 against 0 is 1.
func ratios(info metricInfo, a, b []map[Metric]float64) []float64 {
	var rs []float64
	for i := range min(len(a), len(b)) {
		x, inA := a[i][info.metric]
		y, inB := b[i][info.metric]
		if !inA || !inB {
			continue
		}
		if !info.high {
			x, y = y, x
		}
		r := x / y
		if x == y {
			r = 1
		}
		if r > 0 && !math.IsInf(r, 1) {
			rs = append(rs, r)
		}
	}
	return rs
}

// A bootstrap computes intervals of medians of ratios. It is not for use by
// several goroutines.
type bootstrap struct {
	middles map[int][][2]int
}

func newBootstrap() *bootstrap { return &bootstrap{middles: map[int][][2]int{}} }

// of returns the median of rs, at least one, and its bootstrap percentile
// interval. Between two middle values the median is the geometric mean, so that
// b to a is exactly the inverse of a to b.
func (b *bootstrap) of(rs []float64) interval {
	rs = slices.Sorted(slices.Values(rs))
	medians := make([]float64, 0, resampleCount)
	for _, m := range b.resamples(len(rs)) {
		medians = append(medians, math.Sqrt(rs[m[0]]*rs[m[1]]))
	}
	slices.Sort(medians)
	k := int(outside * resampleCount)
	middle := math.Sqrt(rs[(len(rs)-1)/2] * rs[len(rs)/2])
	return interval{median: middle, lo: medians[k], hi: medians[len(medians)-1-k]}
}

// resamples returns, for each resample of n values, the ranks of its two middle
// values. They depend on n alone: a resample of sorted values is one of ranks.
func (b *bootstrap) resamples(n int) [][2]int {
	if b.middles[n] != nil {
		return b.middles[n]
	}
	random := rand.New(rand.NewPCG(resampleSeed, uint64(n)))
	ranks := make([]int, n)
	middles := make([][2]int, resampleCount)
	for i := range middles {
		for j := range ranks {
			ranks[j] = random.IntN(n)
		}
		slices.Sort(ranks)
		middles[i] = [2]int{ranks[(n-1)/2], ranks[n/2]}
	}
	b.middles[n] = middles
	return middles
}

// median returns the median of values, at least one.
func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
