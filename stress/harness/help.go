package harness

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

const helpWidth = 80

// printProgramHelp is what -h without a scenario prints.
func printProgramHelp(w io.Writer, program string, scenarios []Scenario) {
	fmt.Fprintf(w, "usage: %s SCENARIO [flags]\n\n", program)
	fmt.Fprint(w, wrap(`Measures ways to move messages, "arms", that take turns in short blocks of one run, each block in processes of its own. Prints what each arm did and how many times better our arms are than the others: the median of all rounds and its 95 % interval. Sequence numbers are always checked.`, 0))
	fmt.Fprint(w, "\nScenarios:\n")
	width := 0
	for _, s := range scenarios {
		width = max(width, len(s.Name))
	}
	for _, s := range scenarios {
		printItem(w, s.Name, width, firstSentence(s.About))
	}
	fmt.Fprint(w, "\n"+wrap(fmt.Sprintf("%s SCENARIO -h tells more about one, with its arms and flags.", program), 0))
	printStatus(w)
}

// printScenarioHelp is what SCENARIO -h prints.
func printScenarioHelp(w io.Writer, program string, s Scenario) {
	fmt.Fprintf(w, "usage: %s %s [flags]\n\n%s\nArms:\n", program, s.Name, wrap(s.About, 0))
	width := 0
	for _, a := range s.Arms {
		width = max(width, len(a.Name))
	}
	for _, a := range s.Arms {
		about := a.About
		if a.Ours {
			about += " (ours)"
		}
		printItem(w, a.Name, width, about)
	}
	fmt.Fprint(w, "\nFlags:\n")
	set := newFlags(s).set
	width = 0
	set.VisitAll(func(f *flag.Flag) { width = max(width, len(flagHead(f))) })
	set.VisitAll(func(f *flag.Flag) {
		_, usage := flag.UnquoteUsage(f)
		printItem(w, flagHead(f), width, usage)
	})
	printStatus(w)
}

func flagHead(f *flag.Flag) string {
	name, _ := flag.UnquoteUsage(f)
	if name == "" {
		return "-" + f.Name
	}
	return "-" + f.Name + " " + strings.ToUpper(name)
}

func printStatus(w io.Writer) {
	fmt.Fprint(w, "\n"+wrap("Exit status: 0; 1 if a message was lost, duplicated or reordered, or an arm failed; 2 for wrong usage.", 0))
}

// printItem prints a name and, in a column beside it, its text.
func printItem(w io.Writer, name string, width int, text string) {
	indent := 2 + width + 2
	lines := wrap(text, indent)
	fmt.Fprintf(w, "  %-*s  %s", width, name, strings.TrimLeft(lines, " "))
}

// wrap breaks text into lines of helpWidth, all indented. Blank lines stay.
func wrap(text string, indent int) string {
	var b strings.Builder
	margin := strings.Repeat(" ", indent)
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		column := 0
		for _, word := range strings.Fields(paragraph) {
			switch {
			case column == 0:
				b.WriteString(margin)
				column = indent
			case column+1+len(word) > helpWidth:
				b.WriteString("\n" + margin)
				column = indent
			default:
				b.WriteString(" ")
				column++
			}
			b.WriteString(word)
			column += len(word)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// firstSentence ends at the first full stop or colon that a space follows.
func firstSentence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if i := strings.Index(text, ". "); i >= 0 {
		return text[:i+1]
	}
	return text
}
