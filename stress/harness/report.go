package harness

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// A report is all that a run found.
type report struct {
	set    settings
	host   host
	floors floors
	series []*series
	pairs  []pair
}

// print writes the tables, size by size, and then what they need to be read.
func (r report) print(w io.Writer) {
	for _, size := range r.set.sizes {
		ran := slices.DeleteFunc(slices.Clone(r.series), func(s *series) bool { return s.size != size || !s.ran() })
		if len(ran) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s, %s a message\n\n", r.set.scenario.Name, byteSize(size))
		armTable(ran, r.set.scenario.Columns).print(w)
		if t := r.ratioTable(ran); len(t.rows) > 0 {
			fmt.Fprint(w, "\n")
			t.print(w)
		}
	}
	fmt.Fprint(w, "\n")
	r.floors.table().print(w)
	fmt.Fprint(w, "\n")
	for _, line := range r.notes() {
		fmt.Fprintln(w, line)
	}
}

// armTable has a row for each arm and a column for each metric.
func armTable(ran []*series, columns []Metric) table {
	t := newTable("arm", "")
	for _, s := range ran {
		t.row(s.arm.Name)
	}
	for _, info := range metrics {
		if len(columns) == 0 {
			t.metric(ran, info)
		}
	}
	for _, m := range columns {
		if info, ok := infoOf(m); ok {
			t.metric(ran, info)
		}
	}
	return t
}

// metric adds a column, if any arm has the metric. Its unit fits the middle
// between the least and the largest value.
func (t *table) metric(ran []*series, info metricInfo) {
	values := map[*series]float64{}
	least, largest := math.Inf(1), 0.0
	for _, s := range ran {
		if v, ok := s.value(info.metric); ok {
			values[s] = v
			if v > 0 {
				least, largest = min(least, v), max(largest, v)
			}
		}
	}
	if len(values) == 0 {
		return
	}
	u := info.units[0]
	if largest > 0 {
		u = unitFor(info.units, math.Sqrt(least*largest))
	}
	t.column(info.head, u.name)
	for i, s := range ran {
		cell := "-"
		if v, ok := values[s]; ok {
			cell = digits(v / u.size)
		}
		t.rows[i] = append(t.rows[i], cell)
	}
}

// defaultHeadline are the metrics whose ratios are printed.
var defaultHeadline = []Metric{MessagesPerSecond, ConsumerCPU, P50, P99}

// ratioTable has a row for each of our arms against each other arm.
func (r report) ratioTable(ran []*series) table {
	t := newTable("times better", "")
	rows := comparisons(ran)
	for _, row := range rows {
		t.row(row[0].arm.Name + " than " + row[1].arm.Name)
	}
	headline := r.set.scenario.Headline
	if len(headline) == 0 {
		headline = defaultHeadline
	}
	for _, m := range headline {
		if info, ok := infoOf(m); ok {
			t.ratio(rows, info, r.pairs)
		}
	}
	if len(t.heads) == 1 {
		return table{}
	}
	return t
}

// comparisons returns each of our arms with each other arm, or with each other
// if there are only ours.
func comparisons(ran []*series) [][2]*series {
	var rows [][2]*series
	ours := ourArms(ran)
	for _, a := range ours {
		for _, b := range ran {
			if a != b && (!slices.Contains(ours, b) || len(ours) == len(ran)) {
				rows = append(rows, [2]*series{a, b})
			}
		}
	}
	return rows
}

// ourArms returns the arms that ratios are printed of: ours, or the first one.
func ourArms(ran []*series) []*series {
	var ours []*series
	for _, s := range ran {
		if s.arm.Ours {
			ours = append(ours, s)
		}
	}
	if len(ours) == 0 {
		return ran[:1]
	}
	return ours
}

func (t *table) ratio(rows [][2]*series, info metricInfo, all []pair) {
	var cells []string
	found := false
	for _, row := range rows {
		cell := "-"
		for _, p := range all {
			if p.metric == info.metric && p.a == row[0] && p.b == row[1] {
				cell = fmt.Sprintf("%s (%s-%s)", digits(p.median), digits(p.lo), digits(p.hi))
				found = true
			}
		}
		cells = append(cells, cell)
	}
	if !found {
		return
	}
	t.column(info.head, "")
	for i, cell := range cells {
		t.rows[i] = append(t.rows[i], cell)
	}
}

// notes are the lines below the tables.
func (r report) notes() []string {
	var notes []string
	blocks, dropped, wrong, failed := 0, 0, uint64(0), false
	for _, s := range r.series {
		blocks += s.blocks() + s.dropped
		dropped += s.dropped
		wrong += s.wrong()
	}
	notes = append(notes, fmt.Sprintf("Medians of %d blocks of %v an arm; in brackets the 95 %% interval of the median ratio.",
		r.set.rounds, r.set.block()))
	if dropped > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d blocks dropped: over %.0f %% of the CPU time was stolen.", dropped, blocks, 100*maxStolen))
	}
	for _, s := range r.series {
		for _, note := range s.notes {
			notes = append(notes, fmt.Sprintf("%s at %s: %s", s.arm.Name, byteSize(s.size), note))
		}
		if s.failed != nil {
			notes = append(notes, fmt.Sprintf("%s failed at %s; the end of standard error has the reason.", s.arm.Name, byteSize(s.size)))
			failed = true
		}
		if s.skipped != "" {
			notes = append(notes, fmt.Sprintf("%s sat out %s: %s.", s.arm.Name, byteSize(s.size), strings.TrimSuffix(s.skipped, ".")))
		}
	}
	if wrong == 0 && !failed {
		notes = append(notes, "Nothing lost, duplicated or reordered.")
	}
	return append(notes, "Machine: "+r.host.String()+".")
}
