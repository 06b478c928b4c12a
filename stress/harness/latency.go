package harness

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histograms hold 1 ns to 100 s with 3 digits.
const (
	lowestLatency  = 1
	highestLatency = int64(100 * time.Second)
	latencyDigits  = 3
)

// NewHistogram returns a histogram of nanoseconds with the range that all arms
// use.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(lowestLatency, highestLatency, latencyDigits)
}

// record takes what is out of range as the end of the range.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(int64(d), lowestLatency), highestLatency))
}

// curve are the percentiles of a latency curve, after the least value.
var curve = []float64{10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.999, 100}

// percentiles returns pairs of a percentile and its nanoseconds.
func percentiles(h *hdrhistogram.Histogram) [][2]float64 {
	pairs := [][2]float64{{0, float64(h.Min())}}
	for _, p := range curve {
		pairs = append(pairs, [2]float64{p, float64(h.ValueAtQuantile(p))})
	}
	return pairs
}
