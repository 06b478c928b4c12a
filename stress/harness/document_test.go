package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// schemaArm and schemaRatio have exactly the keys that a reader may rely on.
type schemaArm struct {
	Name          string       `json:"name"`
	Size          int          `json:"size"`
	MsgsPerS      *float64     `json:"msgs_per_s"`
	BytesPerS     *float64     `json:"bytes_per_s"`
	NsPerMsg      *float64     `json:"ns_per_msg"`
	ConsumerCPU   *float64     `json:"consumer_cpu_ns_per_msg"`
	ProducerCPU   *float64     `json:"producer_cpu_ns_per_msg"`
	Doorbells     *float64     `json:"doorbells_per_msg"`
	Waits         *float64     `json:"waits_per_msg"`
	Switches      *float64     `json:"switches_per_msg"`
	Allocs        *float64     `json:"allocs_per_msg"`
	P50           *float64     `json:"p50_ns"`
	P99           *float64     `json:"p99_ns"`
	P999          *float64     `json:"p999_ns"`
	Heap          *float64     `json:"heap_bytes_per_ring"`
	Wakeups       *float64     `json:"wakeups_per_s"`
	Lost          *uint64      `json:"lost"`
	Duplicated    *uint64      `json:"duplicated"`
	Reordered     *uint64      `json:"reordered"`
	Blocks        *int         `json:"blocks"`
	DroppedBlocks *int         `json:"dropped_blocks"`
	Notes         []string     `json:"notes"`
	Latency       [][2]float64 `json:"latency"`
}

func (a schemaArm) metrics() map[string]*float64 {
	return map[string]*float64{
		"msgs_per_s": a.MsgsPerS, "bytes_per_s": a.BytesPerS, "ns_per_msg": a.NsPerMsg,
		"consumer_cpu_ns_per_msg": a.ConsumerCPU, "producer_cpu_ns_per_msg": a.ProducerCPU,
		"doorbells_per_msg": a.Doorbells, "waits_per_msg": a.Waits, "switches_per_msg": a.Switches,
		"allocs_per_msg": a.Allocs, "p50_ns": a.P50, "p99_ns": a.P99, "p999_ns": a.P999,
		"heap_bytes_per_ring": a.Heap, "wakeups_per_s": a.Wakeups,
	}
}

type schemaRatio struct {
	Metric string   `json:"metric"`
	A      string   `json:"a"`
	B      string   `json:"b"`
	Size   int      `json:"size"`
	Median *float64 `json:"median"`
	Lo     *float64 `json:"lo"`
	Hi     *float64 `json:"hi"`
}

type schema struct {
	Scenario string `json:"scenario"`
	Params   struct {
		Sizes     []int `json:"sizes"`
		Rings     int   `json:"rings"`
		Producers int   `json:"producers"`
		Rate      *int  `json:"rate"`
		Duration  int64 `json:"duration_ns"`
		Block     int64 `json:"block_ns"`
		Rounds    int   `json:"rounds"`
		Quick     bool  `json:"quick"`
	} `json:"params"`
	Host struct {
		CPUs       int    `json:"cpus"`
		CPUModel   string `json:"cpu_model"`
		System     string `json:"system"`
		Kernel     string `json:"kernel"`
		Go         string `json:"go"`
		GOMAXPROCS int    `json:"gomaxprocs"`
	} `json:"host"`
	Floors  map[string]float64 `json:"floors"`
	Arms    []schemaArm        `json:"arms"`
	Ratios  []schemaRatio      `json:"ratios"`
	Skipped []struct {
		Arm    string `json:"arm"`
		Size   int    `json:"size"`
		Reason string `json:"reason"`
	} `json:"skipped"`
	Failed []struct {
		Arm  string `json:"arm"`
		Size int    `json:"size"`
	} `json:"failed"`
}

// requireSchema fails unless text is one JSON object of the schema, with every
// ordered pair of arms for every metric that both have.
func requireSchema(t *testing.T, text []byte) schema {
	t.Helper()
	require.True(t, json.Valid(text))
	var keys map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &keys))
	for _, key := range []string{"scenario", "params", "host", "floors", "arms", "ratios", "skipped", "failed"} {
		require.Contains(t, keys, key)
		require.NotEqual(t, "null", string(keys[key]), "%s", key)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var s schema
	require.NoError(t, d.Decode(&s))
	require.False(t, d.More())

	require.NotEmpty(t, s.Scenario)
	require.NotEmpty(t, s.Params.Sizes)
	require.Positive(t, s.Params.Duration)
	require.Equal(t, s.Params.Duration/int64(s.Params.Rounds), s.Params.Block)
	require.Positive(t, s.Host.CPUs)
	require.Positive(t, s.Host.GOMAXPROCS)
	require.NotEmpty(t, s.Host.CPUModel)
	require.NotEmpty(t, s.Host.Go)
	for _, a := range s.Arms {
		require.NotEmpty(t, a.Name)
		require.Contains(t, s.Params.Sizes, a.Size)
		for _, count := range []*uint64{a.Lost, a.Duplicated, a.Reordered} {
			require.NotNil(t, count, "%s", a.Name)
		}
		require.Positive(t, *a.Blocks)
		require.NotNil(t, a.DroppedBlocks)
		if a.Latency != nil {
			require.Equal(t, *a.P50, a.Latency[3][1])
		}
	}
	requireRatios(t, s)
	return s
}

func requireRatios(t *testing.T, s schema) {
	t.Helper()
	var want, got []string
	for _, a := range s.Arms {
		for _, b := range s.Arms {
			if a.Name == b.Name || a.Size != b.Size {
				continue
			}
			for m, v := range a.metrics() {
				// Of nothing against something there is no ratio.
				if w := b.metrics()[m]; v != nil && w != nil && (*v > 0) == (*w > 0) {
					want = append(want, fmt.Sprint(m, " ", a.Name, " ", b.Name, " ", a.Size))
				}
			}
		}
	}
	for _, r := range s.Ratios {
		got = append(got, fmt.Sprint(r.Metric, " ", r.A, " ", r.B, " ", r.Size))
		require.Positive(t, *r.Lo)
		require.LessOrEqual(t, *r.Lo, *r.Median)
		require.LessOrEqual(t, *r.Median, *r.Hi)
	}
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(t, want, got)
}

func TestDocument(t *testing.T) {
	r := madeReport()
	r.series[5].failed = fmt.Errorf("no %s", "/such/path")
	r.pairs = pairs(r.series)
	r.series[0].latency = NewHistogram()
	record(r.series[0].latency, 230)
	text, err := newDocument(r).encode()
	require.NoError(t, err)
	s := requireSchema(t, text)

	require.Equal(t, "stream", s.Scenario)
	require.Equal(t, []int{64, 1 << 20}, s.Params.Sizes)
	require.Equal(t, 4, s.Params.Rings)
	require.Nil(t, s.Params.Rate, "nothing is paced")
	require.Equal(t, map[string]float64{"getpid_ns": 90.5, "memmove_256KiB_bytes_per_s": 32212300000}, s.Floors)
	require.Len(t, s.Arms, 4)
	ring := s.Arms[0]
	require.Equal(t, 20e6, *ring.MsgsPerS)
	require.Equal(t, 0.0012, *ring.Doorbells)
	require.Equal(t, 3, *ring.Blocks)
	require.Equal(t, [2]float64{50, 230}, ring.Latency[3])
	require.Equal(t, 2, *s.Arms[1].DroppedBlocks)
	require.Nil(t, s.Arms[1].Doorbells, "a metric that was not measured is absent, not 0")
	require.Equal(t, []string{"Half of them."}, s.Arms[2].Notes)
	require.Equal(t, "pipe", s.Skipped[0].Arm)
	require.Equal(t, "pipe", s.Failed[0].Arm)
	require.NotContains(t, string(text), "/such/path")
}

func TestDocumentOfNothing(t *testing.T) {
	r := report{set: settings{scenario: Scenario{Name: "idle", Paced: true}, sizes: []int{16}, rounds: 4, params: Params{Duration: 4}}, host: thisHost()}
	text, err := newDocument(r).encode()
	require.NoError(t, err)
	s := requireSchema(t, text)
	require.Zero(t, *s.Params.Rate)
	require.Empty(t, s.Arms)
}

func TestResultSurvivesThePipe(t *testing.T) {
	r := Result{
		Metrics: map[Metric]float64{P50: 1.0 / 3, HeapPerRing: 1e9}, Latency: NewHistogram(),
		Lost: 1, Duplicated: 2, Reordered: 3, Notes: []string{"a"},
	}
	for _, d := range []time.Duration{1, 2, 1000, 123456789, 100 * time.Second, time.Hour, -5} {
		record(r.Latency, d)
	}
	require.EqualValues(t, 7, r.Latency.TotalCount(), "what is out of range counts too")
	b, err := encodeResult(r)
	require.NoError(t, err)
	back, err := decodeResult(b)
	require.NoError(t, err)
	require.True(t, r.Latency.Equals(back.Latency))
	back.Latency = r.Latency
	require.Equal(t, r, back)

	_, err = decodeResult([]byte("no JSON"))
	require.Error(t, err)
}
