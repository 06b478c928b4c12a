package harness

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// A table has its first column to the left and the others to the right. Two
// lines of heads: what, and in which unit.
type table struct {
	heads [][]string
	rows  [][]string
}

func newTable(head, unit string) table { return table{heads: [][]string{{head, unit}}} }

func (t *table) row(cells ...string)      { t.rows = append(t.rows, cells) }
func (t *table) column(head, unit string) { t.heads = append(t.heads, []string{head, unit}) }

func (t table) print(w io.Writer) {
	lines := [][]string{nil, nil}
	units := false
	for _, h := range t.heads {
		lines[0] = append(lines[0], h[0])
		lines[1] = append(lines[1], h[1])
		units = units || h[1] != ""
	}
	if !units {
		lines = lines[:1]
	}
	lines = append(lines, t.rows...)
	widths := make([]int, len(t.heads))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		var b strings.Builder
		for i, cell := range line {
			if i == 0 {
				fmt.Fprintf(&b, "%-*s", widths[i], cell)
			} else {
				fmt.Fprintf(&b, "  %*s", widths[i], cell)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}
