package harness

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var helpScenarios = []Scenario{
	{
		Name: "fanin",
		About: `Rings of many producer processes end in one consumer process. A message is made, sent,
			received and checked.

			Measured are messages a second.`,
		Sizes:    []int{64, 4096},
		Defaults: Params{Rings: 1000, Producers: 8, Rate: 100_000, Duration: time.Second},
		Quick:    Params{Rings: 100, Duration: 100 * time.Millisecond},
		Paced:    true,
		Arms: []Arm{
			{Name: "reactor", Ours: true, About: "one event loop for all rings, which polls those that are busy and sleeps on the rest"},
			{Name: "unix", About: "a goroutine a connection"},
		},
	},
	{Name: "echo", About: "One thread, both ends", Sizes: []int{32}, Defaults: Params{Duration: time.Second}},
}

func TestProgramHelp(t *testing.T) {
	var b bytes.Buffer
	printProgramHelp(&b, "stress", helpScenarios)
	require.Contains(t, b.String(), `usage: stress SCENARIO [flags]
`)
	require.Contains(t, b.String(), `
Scenarios:
  fanin  Rings of many producer processes end in one consumer process.
  echo   One thread, both ends

stress SCENARIO -h tells more about one, with its arms and flags.

Exit status: 0; 1 if a message was lost, duplicated or reordered, or an arm
failed; 2 for wrong usage.
`)
}

func TestScenarioHelp(t *testing.T) {
	var b bytes.Buffer
	printScenarioHelp(&b, "stress", helpScenarios[0])
	require.Equal(t, `usage: stress fanin [flags]

Rings of many producer processes end in one consumer process. A message is made,
sent, received and checked.

Measured are messages a second.

Arms:
  reactor  one event loop for all rings, which polls those that are busy and
           sleeps on the rest (ours)
  unix     a goroutine a connection

Flags:
  -arms ARMS      run only these arms, separated by commas
  -duration TIME  measured time of each arm at each size, all blocks together
                  (default 1s; quick 100ms)
  -json FILE      write the result as JSON to file; - for standard output, which
                  then has nothing else
  -producers N    N processes that they are spread over (default 8)
  -quick          a run of a few seconds, to see that all works
  -rate N         N messages a second in all, 0 for flat out (default 100000)
  -rings N        N rings, connections or clients (default 1000; quick 100)
  -size SIZES     message sizes in bytes, or as 64KiB, separated by commas
                  (default 64B,4KiB)

Exit status: 0; 1 if a message was lost, duplicated or reordered, or an arm
failed; 2 for wrong usage.
`, b.String())

	b.Reset()
	printScenarioHelp(&b, "stress", helpScenarios[1])
	require.NotContains(t, b.String(), "-rings")
	require.NotContains(t, b.String(), "-producers")
	require.NotContains(t, b.String(), "-rate")
}

func TestWrapKeepsTheWidth(t *testing.T) {
	text := strings.Repeat("word and ", 50) + strings.Repeat("x", 100)
	for line := range strings.Lines(wrap(text, 10)) {
		require.True(t, strings.HasPrefix(line, "          "))
		if !strings.Contains(line, "xxx") {
			require.LessOrEqual(t, len(line)-1, helpWidth)
		}
	}
	require.Equal(t, strings.Fields(text), strings.Fields(wrap(text, 10)))
}
