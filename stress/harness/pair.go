package harness

// A pair is the ratio of two arms at one size in one metric.
type pair struct {
	metric Metric
	a, b   *series
	interval
}

// pairs returns every ordered pair of arms for every metric that both have.
func pairs(all []*series) []pair {
	var found []pair
	boot := newBootstrap()
	for _, info := range metrics {
		for _, a := range all {
			for _, b := range all {
				if a == b || a.size != b.size || !a.ran() || !b.ran() {
					continue
				}
				if rs := ratios(info, a.rounds, b.rounds); len(rs) > 0 {
					found = append(found, pair{info.metric, a, b, boot.of(rs)})
				}
			}
		}
	}
	return found
}

func (s *series) ran() bool { return s.skipped == "" && s.failed == nil }
