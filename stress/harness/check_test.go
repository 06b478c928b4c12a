package harness

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		seen                        []uint64
		lost, duplicated, reordered uint64
	}{
		"nothing":          {},
		"in order":         {seen: []uint64{0, 1, 2, 3}},
		"gap":              {seen: []uint64{0, 1, 4}, lost: 2},
		"gap at the start": {seen: []uint64{2, 3}, lost: 2},
		"again":            {seen: []uint64{0, 1, 1, 0, 2}, duplicated: 2},
		"swapped":          {seen: []uint64{1, 0, 2}, reordered: 1},
		"late and again":   {seen: []uint64{0, 2, 1, 1, 3}, reordered: 1, duplicated: 1},
		"all of it":        {seen: []uint64{0, 5, 3, 3, 6}, lost: 3, reordered: 1, duplicated: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var c Check
			for _, seq := range test.seen {
				c.See(seq)
			}
			require.Equal(t, []uint64{test.lost, test.duplicated, test.reordered}, []uint64{c.Lost, c.Duplicated, c.Reordered})
		})
	}
}

func TestCheckSentShowsALostEnd(t *testing.T) {
	var c Check
	c.See(0)
	c.Sent(1)
	require.Zero(t, c.Lost)
	c.Sent(4)
	require.EqualValues(t, 3, c.Lost)
}

// A stream that starts with a huge number must not cost the memory of the gap.
func TestCheckBoundsItsMemory(t *testing.T) {
	var c Check
	c.See(1 << 60)
	require.Len(t, c.missing, maxMissing)
	require.EqualValues(t, 1<<60, c.Lost)
	c.See(maxMissing - 1)
	c.See(maxMissing) // not remembered: it passes for a second one
	require.EqualValues(t, 1<<60-1, c.Lost)
	require.EqualValues(t, 1, c.Reordered)
	require.EqualValues(t, 1, c.Duplicated)
}
