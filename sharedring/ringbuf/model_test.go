package ringbuf_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestModel explores every interleaving of one sender and one receiver
// (model_rules_test.go says what a step is) and requires of the rules that no
// item is lost, doubled, reordered or overwritten, that no honest count is
// refused, that nobody sleeps for ever, and that every run ends. Then it
// switches off one rule at a time and requires that the search finds the hang.
func TestModel(t *testing.T) {
	total := 0
	for _, c := range configs() {
		t.Run(c.String(), func(t *testing.T) {
			g := c.explore()
			total += len(g.states)
			t.Logf("%d states, %d steps", len(g.states), len(g.edges))
			if g.bad >= 0 {
				require.Fail(t, g.what, "the shortest way there:\n%s", g.trace())
			}
			require.True(t, g.acyclic(), "a run need not end: there is a cycle of steps")
		})
	}
	t.Logf("%d states in all", total)
	t.Run("broken", testBroken)
}

// configs are the rings that must not hang. A receiver that may take a part may
// take all, so all of them consume partially; one that may close need not.
func configs() []config {
	var all []config
	for length := uint8(1); length <= maxLength; length++ {
		for hold := uint8(0); hold <= min(2, length-1); hold++ {
			for _, spare := range []bool{false, true} {
				for _, batch := range []uint8{1, 2} {
					for _, how := range []closing{closeNever, closeEither} {
						all = append(all, config{
							length: length, total: items(length), hold: hold, batch: batch,
							spare: spare, partial: true, close: how,
						})
					}
				}
			}
		}
	}
	return all
}

// items are enough to go past the wrap with a ring that was full, and small
// enough for a quick test.
func items(length uint8) uint8 { return min(2*length+1, length+4) }

func (c *config) String() string {
	return fmt.Sprintf("length=%d/hold=%d/spare=%t/batch=%d/close=%s", c.length, c.hold, c.spare, c.batch, c.close)
}

// testBroken switches off each rule on the smallest ring that shows it. Nobody
// closes, for the wake-up of a close would hide the one that was lost.
func testBroken(t *testing.T) {
	type variant struct {
		what string
		config
	}
	tests := []struct {
		rule     string
		variants []variant
	}{
		{"take-what-was-loaded", []variant{
			{"more came between the load and the release: that commit did not find 0",
				config{length: 2, broken: broken{trustOldLoad: true}}},
		}},
		{"one-segment-per-edge", []variant{
			{"the items beyond the wrap came with the same edge",
				config{length: 2, broken: broken{oneSegment: true}}},
		}},
		{"partial-without-requeue", []variant{
			{"the items that were left came with the same edge",
				config{length: 2, partial: true, broken: broken{noRequeue: true}}},
		}},
		{"inexact-arm", []variant{
			{"before was more than the held tail",
				config{length: 2, hold: 1, broken: broken{armUncompared: true}}},
			{"the tail is still held: no commit finds 0",
				config{length: 2, hold: 1, broken: broken{armHolding: true}}},
		}},
		{"wait-for-k", []variant{
			{"receiver waits for 2 items: the second does not find 0",
				config{length: 3, broken: broken{needItems: 2}}},
			{"receiver waits for more items than the ring has slots",
				config{length: 3, broken: broken{needItems: 4}}},
			{"sender waits for more free slots than the ring has",
				config{length: 3, broken: broken{needFree: 4}}},
		}},
		{"all-or-nothing-send", []variant{
			{"sender waits for 2 free slots: with 1 free no release finds the ring full",
				config{length: 3, broken: broken{needFree: 2}}},
		}},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			for _, v := range test.variants {
				v.total, v.batch = items(v.length), 1
				g := v.explore()
				require.GreaterOrEqual(t, g.bad, 0, "%s: no hang found in %d states", v.what, len(g.states))
				require.Equal(t, hang, g.what, "%s: another fault came first:\n%s", v.what, g.trace())
				t.Logf("length %d: %s: hang after %d states, the shortest way there:\n%s",
					v.length, v.what, len(g.states), g.trace())
			}
		})
	}
}

const hang = "hang: work is left and nobody has a step to take"

// graph is what a breadth-first search has reached, in the order of the search.
type graph struct {
	*config
	states []state
	from   []int32 // the state from which each was reached first; -1 for the start
	edges  []int32 // for each state in turn, the states that follow
	first  []int   // where the edges of each state begin, and after all of them the end
	bad    int     // the first bad state, or -1
	what   string  // is wrong with it
}

// explore visits every state that can be reached, nearest first, up to the
// first bad one: so the way there is a shortest one.
func (c *config) explore() *graph {
	g := &graph{config: c, bad: -1}
	ids := make(map[state]int32)
	visit := func(s state, from int) int32 {
		id, ok := ids[s]
		if !ok {
			id = int32(len(g.states))
			ids[s] = id
			g.states = append(g.states, s)
			g.from = append(g.from, int32(from))
		}
		return id
	}
	visit(state{}, -1)

	var next []transition
	for i := 0; i < len(g.states); i++ {
		g.first = append(g.first, len(g.edges))
		next = c.steps(g.states[i], next[:0])
		stuck := true
		for _, step := range next {
			id := visit(step.next, i)
			g.edges = append(g.edges, id)
			if step.fault != "" {
				g.bad, g.what = int(id), step.fault
				return g
			}
			stuck = stuck && step.optional
		}
		if stuck && !c.final(g.states[i]) {
			g.bad, g.what = i, hang
			return g
		}
	}
	g.first = append(g.first, len(g.edges))
	return g
}

// acyclic reports whether every run ends. As every end is a good one (explore
// has seen to that), it means that each state leads to a good end whatever the
// two sides do: no livelock, and no sleep for ever beside a busy peer.
func (g *graph) acyclic() bool {
	// Remove states that no remaining state leads to, until none is left.
	before := make([]int32, len(g.states))
	for _, to := range g.edges {
		before[to]++
	}
	removed, ready := 0, []int32{0}
	for len(ready) > 0 {
		at := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		removed++
		for _, to := range g.edges[g.first[at]:g.first[at+1]] {
			if before[to]--; before[to] == 0 {
				ready = append(ready, to)
			}
		}
	}
	return removed == len(g.states)
}

// trace is the way from the start to the bad state, a line a step.
func (g *graph) trace() string {
	var lines []string
	for i := g.bad; i > 0; i = int(g.from[i]) {
		lines = append(lines, fmt.Sprintf("%-60s %s", g.action(i), g.states[i]))
	}
	slices.Reverse(lines)
	var b strings.Builder
	for i, line := range lines {
		fmt.Fprintf(&b, "%3d  %s\n", i+1, line)
	}
	return b.String()
}

// action is the step by which a state was reached first.
func (g *graph) action(id int) string {
	for _, step := range g.steps(g.states[g.from[id]], nil) {
		if step.next == g.states[id] {
			return step.action
		}
	}
	return ""
}

func (s state) String() string {
	line := fmt.Sprintf("count %d | sent %d known %d %v | got %d known %d held %d %v |",
		s.count, s.tx.sent, s.tx.known, s.tx.at, s.rx.got, s.rx.known, s.rx.held, s.rx.at)
	for _, word := range []struct {
		on   bool
		text string
	}{
		{s.tx.owes, " empty-ring due"}, {s.emptyEdge, " empty-edge"},
		{s.rx.owes, " full-ring due"}, {s.fullEdge, " full-edge"},
	} {
		if word.on {
			line += word.text
		}
	}
	return line
}
