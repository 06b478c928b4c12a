package waiting

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// sample is one block of one arm.
type sample struct {
	messages, doorbells, waits uint64
	switches                   int64
	elapsed, cpu, producer     time.Duration
	p50, p99                   int64   // ns
	disturbance                float64 // see disturbance
}

func (s sample) per(n float64) float64 { return n / float64(s.messages) }

func (s sample) cpuPerMessage() float64 { return s.per(float64(s.cpu)) }

// table prints the medians of each arm.
type table struct{ lines []string }

func newTable() *table {
	return &table{lines: []string{
		"rings  load       arm               messages/s  CPU ns   CPU / first arm's    p50 us  p99 us   waits  switches  doorbells",
	}}
}

func (t *table) add(l load, samples [][]sample) {
	for i, a := range arms {
		mine := make([]sample, len(samples))
		for round := range samples {
			mine[round] = samples[round][i]
		}
		median := func(f func(sample) float64) float64 { return medianOf(mine, f) }
		pace, p50, p99 := "flat out", "-", "-" // a queue's length is no latency
		if l.rate > 0 {
			pace = fmt.Sprintf("%d/s", l.rate)
			p50 = fmt.Sprintf("%.1f", median(func(s sample) float64 { return float64(s.p50) })/1000)
			p99 = fmt.Sprintf("%.1f", median(func(s sample) float64 { return float64(s.p99) })/1000)
		}
		t.lines = append(t.lines, fmt.Sprintf("%5d  %-9s  %-16s  %10.0f  %6.0f   %-18s  %7s  %6s  %6.3f  %8.3f  %9.3f",
			l.rings, pace, a.name,
			median(func(s sample) float64 { return float64(s.messages) / s.elapsed.Seconds() }),
			median(sample.cpuPerMessage), ratio(samples, i), p50, p99,
			median(func(s sample) float64 { return s.per(float64(s.waits)) }),
			median(func(s sample) float64 { return s.per(float64(s.switches)) }),
			median(func(s sample) float64 { return s.per(float64(s.doorbells)) })))
	}
	t.lines = append(t.lines, "")
}

func (t *table) String() string { return strings.Join(t.lines, "\n") }

func medianOf(samples []sample, f func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = f(s)
	}
	return median(values)
}

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// ratio is the CPU time of a message by that of the first arm in the same round:
// the median over the rounds, and its 95 % interval by bootstrap.
func ratio(samples [][]sample, arm int) string {
	ratios := make([]float64, len(samples))
	for i, round := range samples {
		ratios[i] = round[arm].cpuPerMessage() / round[0].cpuPerMessage()
	}
	middle := fmt.Sprintf("%.2f", median(slices.Clone(ratios)))
	if len(ratios) < 2 || arm == 0 {
		return middle
	}
	random := rand.New(rand.NewPCG(1, 2))
	medians := make([]float64, 1000)
	for i := range medians {
		drawn := make([]float64, len(ratios))
		for j := range drawn {
			drawn[j] = ratios[random.IntN(len(ratios))]
		}
		medians[i] = median(drawn)
	}
	slices.Sort(medians)
	return fmt.Sprintf("%s (%.2f-%.2f)", middle, medians[25], medians[974])
}

// ticks are sums over all CPUs, in 1/100 s.
type ticks struct{ busy, steal float64 }

// readTicks reads the first line of proc_stat(5).
func readTicks(b *testing.B) ticks {
	stat, err := os.ReadFile("/proc/stat")
	require.NoError(b, err)
	var user, nice, system, idle, iowait, irq, softirq, steal float64
	_, err = fmt.Sscanf(string(stat), "cpu %f %f %f %f %f %f %f %f", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal)
	require.NoError(b, err)
	return ticks{busy: user + nice + system + irq + softirq, steal: steal}
}

// disturbance is the part of the machine's time since before that neither of the two
// processes used, but somebody else or the hypervisor.
func disturbance(b *testing.B, before ticks, s sample) float64 {
	now := readTicks(b)
	others := (now.busy-before.busy)/100 - s.cpu.Seconds() - s.producer.Seconds()
	stolen := (now.steal - before.steal) / 100
	return max(others, 0)/s.machineTime() + stolen/s.machineTime()
}

func (s sample) machineTime() float64 { return s.elapsed.Seconds() * float64(runtime.NumCPU()) }

// summary is what else the reader has to know.
func summary(b *testing.B, c *consumer) string {
	var name unix.Utsname
	require.NoError(b, unix.Uname(&name))
	return fmt.Sprintf("Linux %s, %d CPUs, GOMAXPROCS %d, %s; %d blocks of %v an arm\n"+
		"%d of %d blocks ran while others had more than %.0f %% of the CPUs; %d more were repeated for that\n\n",
		bytes.TrimRight(name.Release[:], "\x00"), runtime.NumCPU(), runtime.GOMAXPROCS(0), runtime.Version(), *rounds, *blockTime,
		c.disturbed, c.blocks, 100*tolerance, c.repeated)
}
