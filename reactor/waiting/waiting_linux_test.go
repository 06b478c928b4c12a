package waiting

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	blockTime = flag.Duration("block", 40*time.Millisecond, "how long each arm runs at a time")
	rounds    = flag.Int("rounds", 1, "how often each arm runs; with more than one, a round of warm-up precedes them")
	only      = flag.String("arms", "", "run only the arms with these names, separated by commas, for a profile")
	patience  = flag.Duration("patience", 0, "how much time may go into repeating blocks in which others used the machine")
)

// BenchmarkWaiting compares the ways to wait, at three numbers of rings, paced and
// flat out, with the producer in another process. It prints a table. By default it
// only shows that it works; for figures,
//
//	go test -run '^$' -bench Waiting -benchtime 1x ./reactor/waiting -block 200ms -rounds 8 -patience 3m
func BenchmarkWaiting(b *testing.B) {
	cases := []load{
		{rings: 1, rate: 10_000}, {rings: 100, rate: 100_000}, {rings: 1000, rate: 100_000},
		{rings: 1}, {rings: 100}, {rings: 1000},
	}
	if *only != "" {
		arms = slices.DeleteFunc(arms, func(a arm) bool { return !slices.Contains(strings.Split(*only, ","), a.name) })
	}
	for range b.N {
		c := newConsumer(b, 1000)
		// A receiver that has slept once stays in Go's netpoller, which its doorbell then
		// wakes for every arm. So this arm has rings of its own.
		c.goroutines = newConsumer(b, 1000)
		c.patience = *patience
		t := newTable()
		for _, l := range cases {
			l.duration = *blockTime
			t.add(l, c.compare(b, l))
		}
		fmt.Printf("\n%s%s\n", summary(b, c), t)
	}
	b.ReportMetric(0, "ns/op") // the time is that of the flags
}

// compare returns samples[round][arm]. The order of the arms is turned about from
// round to round, so that what drifts hits all alike.
func (c *consumer) compare(b *testing.B, l load) (samples [][]sample) {
	if *rounds > 1 {
		for _, a := range arms {
			c.block(b, a, l)
		}
	}
	for i := range *rounds {
		samples = append(samples, c.round(b, l, i%2 == 1))
	}
	return samples
}

func (c *consumer) round(b *testing.B, l load, backwards bool) []sample {
	samples := make([]sample, len(arms))
	for i := range arms {
		if backwards {
			i = len(arms) - 1 - i
		}
		samples[i] = c.calmBlock(b, arms[i], l)
	}
	return samples
}

// tolerance is the part of the CPUs' time that others may have in a block.
const tolerance = 0.05

// calmBlock repeats a block in which others had more, while there is patience.
func (c *consumer) calmBlock(b *testing.B, a arm, l load) sample {
	for {
		start := time.Now()
		s := c.block(b, a, l)
		disturbed := s.disturbance > tolerance
		if disturbed && c.patience > 0 {
			c.patience -= time.Since(start)
			c.repeated++
			continue
		}
		c.blocks++
		if disturbed {
			c.disturbed++
		}
		return s
	}
}
