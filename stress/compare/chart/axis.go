package chart

import (
	"fmt"
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// axis is a quantity of a figure: what it is called, how it is scaled, and where its
// ticks are. The ticks name the units.
type axis struct {
	label string
	scale plot.Normalizer
	ticks plot.Ticker
	widen func(low, high float64) (float64, float64) // out to whole ticks
}

var (
	sizeAxis       = axis{"message size", plot.LogScale{}, octaves{bytesName}, asIs}
	ringsAxis      = axis{"rings", plot.LogScale{}, decades{countName, false}, asIs}
	percentAxis    = axis{"percentile", percentScale{}, percentTicks{}, asIs}
	timeAxis       = axis{"time per message (less is better)", plot.LogScale{}, decades{timeName, true}, toDecades}
	cpuAxis        = axis{"CPU time per message (less is better)", plot.LogScale{}, decades{timeName, true}, toDecades}
	latencyAxis    = axis{"latency (less is better)", plot.LogScale{}, decades{timeName, true}, toDecades}
	throughputAxis = axis{"throughput (more is better)", plot.LogScale{}, octaves{rateName}, toPowersOf4}
)

func asIs(low, high float64) (float64, float64) { return low, high }

// octaves are ticks at powers of two, with at most 9 of them named.
type octaves struct{ name func(float64) string }

// Ticks implements plot.Ticker.
func (o octaves) Ticks(low, high float64) []plot.Tick {
	first := math.Ceil(math.Log2(low) - slack)
	last := math.Floor(math.Log2(high) + slack)
	every := 1 + math.Floor((last-first)/9)
	var ticks []plot.Tick
	for i := first; i <= last; i++ {
		t := plot.Tick{Value: math.Exp2(i)}
		if math.Mod(i-first, every) == 0 {
			t.Label = o.name(t.Value)
		}
		ticks = append(ticks, t)
	}
	return ticks
}

func toPowersOf4(low, high float64) (float64, float64) {
	return math.Exp2(2 * math.Floor(math.Log2(low)/2)), math.Exp2(2 * math.Ceil(math.Log2(high)/2))
}

// decades are ticks at 1, 2, 3 ... 9 of each power of ten. Named are the powers, and
// 2 and 5 of each too if fine and the range is small.
type decades struct {
	name func(float64) string
	fine bool
}

// Ticks implements plot.Ticker.
func (d decades) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for i := math.Floor(math.Log10(low) + slack); i <= math.Log10(high)+slack; i++ {
		for m := 1.0; m < 10; m++ {
			t := plot.Tick{Value: m * math.Pow(10, i)}
			if t.Value < low*(1-slack) || t.Value > high*(1+slack) {
				continue
			}
			if m == 1 || d.fine && high/low < 999 && (m == 2 || m == 5) {
				t.Label = d.name(t.Value)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// toDecades widens a range to ticks that Ticks names.
func toDecades(low, high float64) (float64, float64) {
	steps := []float64{1, 10}
	if high/low <= 150 { // then below 999 when widened
		steps = []float64{1, 2, 5, 10}
	}
	base := math.Pow(10, math.Floor(math.Log10(low)+slack))
	newLow := base
	for _, s := range steps {
		if base*s <= low*(1+slack) {
			newLow = base * s
		}
	}
	base = math.Pow(10, math.Floor(math.Log10(high)+slack))
	for _, s := range steps {
		if base*s >= high*(1-slack) {
			return newLow, base * s
		}
	}
	return newLow, high
}

// slack is for rounding, so that a tick on an end of the axis counts.
const slack = 1e-9

// percentScale stretches the tail: 90, 99 and 99.9 % are equally far apart.
type percentScale struct{}

// Normalize implements plot.Normalizer.
func (percentScale) Normalize(low, high, x float64) float64 {
	tail := func(p float64) float64 { return -math.Log(1 - p/100) }
	return (tail(x) - tail(low)) / (tail(high) - tail(low))
}

// Percentiles outside of these are not shown: the scale has no place for 100.
const (
	firstPercent = 50
	lastPercent  = 99.99
)

type percentTicks struct{}

// Ticks implements plot.Ticker.
func (percentTicks) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for _, p := range []float64{firstPercent, 90, 99, 99.9, lastPercent} {
		if p >= low && p <= high {
			ticks = append(ticks, plot.Tick{Value: p, Label: strconv.FormatFloat(p, 'g', -1, 64)})
		}
	}
	return ticks
}

func timeName(ns float64) string { return named(ns, 1000, " ns", " µs", " ms", " s") }
func bytesName(n float64) string { return named(n, 1024, " B", " KiB", " MiB", " GiB") }
func rateName(n float64) string  { return bytesName(n) + "/s" }
func countName(n float64) string { return named(n, 1000, "", ",000", ",000,000") }

// named is v in the largest unit in which it is at least 1.
func named(v, step float64, units ...string) string {
	i := 0
	for ; v >= step*(1-slack) && i < len(units)-1; i++ {
		v /= step
	}
	return fmt.Sprintf("%.3g%s", v, units[i])
}
