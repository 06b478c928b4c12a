package harness

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Blocks are as many as make them this long, within bounds. The number is even:
// then each arm is as often early in a round as late.
const (
	shortBlock = 50 * time.Millisecond
	minRounds  = 4
	maxRounds  = 10
)

// maxAttempts is how often a block is measured whose CPU time is stolen.
const maxAttempts = 3

func roundsFor(s Scenario, d time.Duration, quick bool) int {
	if s.Rounds > 0 {
		return s.Rounds
	}
	if quick {
		return minRounds // setting a block up may take longer than the block
	}
	n := int(min(d/shortBlock, maxRounds))
	return max(n-n%2, minRounds)
}

// A run is one scenario under way. The functions are for tests to replace.
type run struct {
	settings
	measure  func(ctx context.Context, arm Arm, p Params) (Result, error)
	ticks    func() (cpuTicks, error)
	progress progress
}

// A series is what one arm measured at one size.
type series struct {
	arm     Arm
	size    int
	rounds  []map[Metric]float64    // nil: dropped
	latency *hdrhistogram.Histogram // of all rounds; nil if not measured

	lost, duplicated, reordered uint64

	notes   []string // of the blocks, each once
	dropped int      // blocks, each time that one was measured in vain
	skipped string   // why it did not run
	failed  error    // why it ran no further
}

// do measures all arms at all sizes. It fails only if ctx ends.
func (r *run) do(ctx context.Context) ([]*series, error) {
	var all []*series
	for _, size := range r.sizes {
		p := r.params
		p.Size, p.Duration = size, r.block()
		group := r.begin(p)
		all = append(all, group...)
		for round := range r.rounds {
			order := slices.Clone(group)
			if round%2 == 1 {
				slices.Reverse(order)
			}
			for _, s := range order {
				r.progress.block(s)
				if s.skipped == "" && s.failed == nil {
					r.round(ctx, s, p)
				}
				if ctx.Err() != nil {
					return nil, context.Cause(ctx)
				}
				r.progress.done()
			}
		}
		for _, s := range group {
			s.end()
			r.progress.series(s)
		}
	}
	return all, nil
}

func (r *run) begin(p Params) []*series {
	var group []*series
	for _, arm := range r.arms {
		s := &series{arm: arm, size: p.Size}
		if arm.Skip != nil {
			s.skipped = arm.Skip(p)
		}
		group = append(group, s)
	}
	return group
}

// round adds one block to s, nil if its CPU time was stolen each time.
func (r *run) round(ctx context.Context, s *series, p Params) {
	var kept map[Metric]float64
	for attempt := 0; attempt < maxAttempts && kept == nil; attempt++ {
		result, robbed, err := r.attempt(ctx, s.arm, p)
		if err != nil {
			s.failed = err
			return
		}
		s.lost += result.Lost
		s.duplicated += result.Duplicated
		s.reordered += result.Reordered
		for _, note := range result.Notes {
			if !slices.Contains(s.notes, note) {
				s.notes = append(s.notes, note)
			}
		}
		if robbed {
			s.dropped++
		} else {
			kept = s.keep(result)
		}
	}
	s.rounds = append(s.rounds, kept)
}

// attempt measures one block and says whether too much of its time was stolen.
func (r *run) attempt(ctx context.Context, arm Arm, p Params) (result Result, robbed bool, err error) {
	from, err := r.ticks()
	if err != nil {
		return Result{}, false, err
	}
	result, err = r.measure(ctx, arm, p)
	if err != nil {
		return Result{}, false, err
	}
	to, err := r.ticks()
	return result, tooMuchStolen(from, to), err
}

// keep takes the result's latencies and returns its metrics.
func (s *series) keep(r Result) map[Metric]float64 {
	m := map[Metric]float64{}
	for metric, v := range r.Metrics {
		m[metric] = v
	}
	if r.Latency == nil {
		return m
	}
	for _, q := range quantiles {
		m[q.metric] = float64(r.Latency.ValueAtQuantile(q.percentile))
	}
	if s.latency == nil {
		s.latency = NewHistogram()
	}
	s.latency.Merge(r.Latency)
	return m
}

// end says why s has no metrics, if so. It did run: what it lost counts.
func (s *series) end() {
	if s.ran() && s.blocks() == 0 {
		s.notes = append(s.notes, fmt.Sprintf("over %.0f %% of the CPU time was stolen in each of its %d blocks.", 100*maxStolen, s.dropped))
	}
}

// blocks returns how many were kept.
func (s *series) blocks() int {
	n := 0
	for _, m := range s.rounds {
		if m != nil {
			n++
		}
	}
	return n
}

// wrong is how many messages did not come once and in order.
func (s *series) wrong() uint64 { return s.lost + s.duplicated + s.reordered }

// value returns the median of the rounds; quantiles are of all latencies
// together. It is false if the metric was not measured.
func (s *series) value(m Metric) (float64, bool) {
	if s.latency != nil {
		for _, q := range quantiles {
			if q.metric == m {
				return float64(s.latency.ValueAtQuantile(q.percentile)), true
			}
		}
	}
	var values []float64
	for _, round := range s.rounds {
		if v, ok := round[m]; ok {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return 0, false
	}
	return median(values), true
}
