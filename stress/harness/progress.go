package harness

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A progress tells how far a run is: a bar on a terminal, elsewhere a line for
// each arm at each size.
type progress struct {
	scenario string
	out      io.Writer
	bar      *progressbar.ProgressBar // nil: lines
}

func newProgress(out io.Writer, set settings) progress {
	p := progress{scenario: set.scenario.Name, out: out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions(len(set.arms)*len(set.sizes)*set.rounds,
			progressbar.OptionSetWriter(out),
			progressbar.OptionSetWidth(30),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionSetTheme(progressbar.ThemeASCII),
			progressbar.OptionClearOnFinish())
		return p
	}
	fmt.Fprintf(out, "%s: %s, %s, %d blocks of %v each\n", p.scenario, plural(len(set.arms), "arm"),
		plural(len(set.sizes), "size"), set.rounds, set.block())
	return p
}

// block says which block runs now.
func (p progress) block(s *series) {
	if p.bar != nil {
		p.bar.Describe(fmt.Sprintf("%s %s %s", p.scenario, byteSize(s.size), s.arm.Name))
	}
}

// done counts a block.
func (p progress) done() {
	if p.bar != nil {
		_ = p.bar.Add(1) // fails only past the last
	}
}

// series says that an arm is through with a size.
func (p progress) series(s *series) {
	if p.bar == nil {
		fmt.Fprintf(p.out, "%s %s %s: %s\n", p.scenario, byteSize(s.size), s.arm.Name, s.summary())
	}
}

// clear makes room for other lines.
func (p progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear() // a terminal that is gone needs no clearing
	}
}

// summary is the first two metrics, or why there are none.
func (s *series) summary() string {
	switch {
	case s.failed != nil:
		return "failed"
	case s.skipped != "":
		return "sits out: " + s.skipped
	case s.blocks() == 0:
		return "all blocks dropped"
	}
	var parts []string
	for _, info := range metrics {
		if v, ok := s.value(info.metric); ok && len(parts) < 2 {
			parts = append(parts, info.head+" "+quantity(info.units, v))
		}
	}
	return strings.Join(parts, ", ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
