package harness

// A Metric is one measured quantity. Its text is its key in the JSON.
type Metric string

const (
	MessagesPerSecond Metric = "msgs_per_s"
	BytesPerSecond    Metric = "bytes_per_s"
	NsPerMessage      Metric = "ns_per_msg"
	ConsumerCPU       Metric = "consumer_cpu_ns_per_msg"
	ProducerCPU       Metric = "producer_cpu_ns_per_msg"
	Doorbells         Metric = "doorbells_per_msg"
	Waits             Metric = "waits_per_msg"
	Switches          Metric = "switches_per_msg" // context switches of the consumer process
	Allocs            Metric = "allocs_per_msg"   // heap objects of the consumer process
	P50               Metric = "p50_ns"
	P99               Metric = "p99_ns"
	P999              Metric = "p999_ns"
	HeapPerRing       Metric = "heap_bytes_per_ring"
	Wakeups           Metric = "wakeups_per_s"
)

// A metricInfo is what the table and the ratios know of a metric.
type metricInfo struct {
	metric Metric
	head   string // of its column
	units  []unit // from small to large; the last that fits is taken
	high   bool   // more is better
}

// metrics has every Metric, in the order of the columns.
var metrics = []metricInfo{
	{MessagesPerSecond, "messages", ratePerSecond, true},
	{BytesPerSecond, "data", bytesPerSecond, true},
	{NsPerMessage, "time", timePerMessage, false},
	{ConsumerCPU, "consumer CPU", timePerMessage, false},
	{ProducerCPU, "producer CPU", timePerMessage, false},
	{Doorbells, "doorbells", perMessage, false},
	{Waits, "waits", perMessage, false},
	{Switches, "switches", perMessage, false},
	{Allocs, "allocs", perMessage, false},
	{P50, "p50", times, false},
	{P99, "p99", times, false},
	{P999, "p99.9", times, false},
	{HeapPerRing, "heap", bytesPerRing, false},
	{Wakeups, "wake-ups", []unit{{"/s", 1}}, false},
}

func infoOf(m Metric) (metricInfo, bool) {
	for _, info := range metrics {
		if info.metric == m {
			return info, true
		}
	}
	return metricInfo{}, false
}

// quantiles are the metrics that come from a histogram.
var quantiles = []struct {
	metric     Metric
	percentile float64
}{{P50, 50}, {P99, 99}, {P999, 99.9}}
