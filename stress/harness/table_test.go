package harness

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// made returns a series of rounds with these metrics, each times 1, 2, 3.
func made(arm Arm, size int, metrics map[Metric]float64) *series {
	s := &series{arm: arm, size: size}
	for i := range 3 {
		round := map[Metric]float64{}
		for m, v := range metrics {
			round[m] = v * float64(i+1) / 2
		}
		s.rounds = append(s.rounds, round)
	}
	return s
}

func madeReport() report {
	ring, unix, pipe := Arm{Name: "ring", Ours: true}, Arm{Name: "unix-buffered"}, Arm{Name: "pipe"}
	all := []*series{
		made(ring, 64, map[Metric]float64{MessagesPerSecond: 20e6, BytesPerSecond: 1.28e9, ConsumerCPU: 16.6, P50: 230, P99: 1500, Doorbells: 0.0012}),
		made(unix, 64, map[Metric]float64{MessagesPerSecond: 1e6, BytesPerSecond: 64e6, ConsumerCPU: 1900, P50: 4600, P99: 3e6}),
		{arm: pipe, size: 64, skipped: "there is none here"},
		made(ring, 1<<20, map[Metric]float64{MessagesPerSecond: 3000, ConsumerCPU: 50000, Doorbells: 0}),
		made(unix, 1<<20, map[Metric]float64{MessagesPerSecond: 1000, ConsumerCPU: 200000}),
		made(pipe, 1<<20, map[Metric]float64{MessagesPerSecond: 1500, ConsumerCPU: 100000}),
	}
	all[1].dropped = 2
	all[3].notes = []string{"Half of them."}
	return report{
		set: settings{
			scenario: Scenario{Name: "stream"}, sizes: []int{64, 1 << 20}, rounds: 3,
			params: Params{Rings: 4, Duration: 3 * time.Second},
		},
		host:   host{CPUs: 2, CPUModel: "Abacus 3", System: "linux/amd64", Kernel: "6.1", Go: "go1.25.0", GOMAXPROCS: 2},
		floors: floors{"getpid_ns": 90.5, "memmove_256KiB_bytes_per_s": 30 << 30},
		series: all,
		pairs:  pairs(all),
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	madeReport().print(&b)
	require.Equal(t, `
stream, 64 B a message

arm            messages   data  consumer CPU  doorbells    p50   p99
                    M/s  MiB/s        ns/msg       /msg     us    us
ring               20.0   1221          16.6    0.00120  0.230  1.50
unix-buffered      1.00   61.0          1900          -   4.60  3000

times better                     messages   consumer CPU               p50               p99
ring than unix-buffered  20.0 (20.0-20.0)  114 (114-114)  20.0 (20.0-20.0)  2000 (2000-2000)

stream, 1 MiB a message

arm            messages  consumer CPU  doorbells
                    k/s        us/msg       /msg
ring               3.00          50.0          0
unix-buffered      1.00           200          -
pipe               1.50           100          -

times better                     messages      consumer CPU
ring than unix-buffered  3.00 (3.00-3.00)  4.00 (4.00-4.00)
ring than pipe           2.00 (2.00-2.00)  2.00 (2.00-2.00)

floors of this machine
getpid                     90.5 ns
memmove of 256 KiB      30.0 GiB/s

Medians of 3 blocks of 1s an arm; in brackets the 95 % interval of the median ratio.
2 of 17 blocks dropped: over 5 % of the CPU time was stolen.
pipe sat out 64 B: there is none here.
ring at 1 MiB: Half of them.
Nothing lost, duplicated or reordered.
Machine: 2 x Abacus 3, linux/amd64, kernel 6.1, go1.25.0, GOMAXPROCS 2.
`, b.String())
}

func TestTableOfChosenColumns(t *testing.T) {
	r := madeReport()
	r.set.scenario.Columns = []Metric{P99, MessagesPerSecond}
	r.set.scenario.Headline = []Metric{P99}
	r.set.sizes = []int{64}
	r.series[0].lost = 1
	var b bytes.Buffer
	r.print(&b)
	require.Contains(t, b.String(), `
arm             p99  messages
                 us       M/s
ring           1.50      20.0
unix-buffered  3000      1.00

times better                          p99
ring than unix-buffered  2000 (2000-2000)
`)
	require.NotContains(t, b.String(), "Nothing lost")
}

func TestOurArmsAreComparedWithTheOthers(t *testing.T) {
	s := func(name string, ours bool) *series { return &series{arm: Arm{Name: name, Ours: ours}} }
	a, b, c := s("a", false), s("b", true), s("c", true)
	for _, test := range []struct {
		ran  []*series
		want [][2]*series
	}{
		{[]*series{a, b, c}, [][2]*series{{b, a}, {c, a}}},
		{[]*series{a}, nil},
		{[]*series{b, c}, [][2]*series{{b, c}, {c, b}}},
		{[]*series{a, s("d", false)}, nil},
	} {
		if len(test.ran) == 2 && test.want == nil {
			test.want = [][2]*series{{test.ran[0], test.ran[1]}}
		}
		require.Equal(t, test.want, comparisons(test.ran))
	}
}
