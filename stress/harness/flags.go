package harness

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of -size. A message begins with its sequence number.
const (
	minSize = 8
	maxSize = 1 << 30
)

// settings are what the flags of a scenario say.
type settings struct {
	scenario Scenario
	arms     []Arm
	params   Params // Size is not used, Duration is that of all rounds
	sizes    []int
	rounds   int
	quick    bool
	json     string
}

// block returns the measured time of one block.
func (s settings) block() time.Duration { return s.params.Duration / time.Duration(s.rounds) }

// rawFlags are the flags as given.
type rawFlags struct {
	set        *flag.FlagSet
	arms, size string
	params     Params
	quick      bool
	json       string
}

// newFlags defines the flags of a scenario.
func newFlags(s Scenario) *rawFlags {
	d := s.Defaults
	r := &rawFlags{set: flag.NewFlagSet(s.Name, flag.ContinueOnError)}
	f := r.set
	f.SetOutput(io.Discard)
	f.StringVar(&r.arms, "arms", "", "run only these `arms`, separated by commas")
	f.StringVar(&r.size, "size", "", "message `sizes` in bytes, or as 64KiB, separated by commas"+
		defaultText(sizesText(s.Sizes), quickSize(s)))
	if d.Rings != 0 {
		f.IntVar(&r.params.Rings, "rings", d.Rings, "`N` rings, connections or clients"+
			defaultText(strconv.Itoa(d.Rings), quickInt(s.Quick.Rings)))
	}
	if d.Producers != 0 {
		f.IntVar(&r.params.Producers, "producers", d.Producers, "`N` processes that they are spread over"+
			defaultText(strconv.Itoa(d.Producers), quickInt(s.Quick.Producers)))
	}
	if s.Paced {
		f.IntVar(&r.params.Rate, "rate", d.Rate, "`N` messages a second in all, 0 for flat out"+
			defaultText(strconv.Itoa(d.Rate), quickInt(s.Quick.Rate)))
	}
	f.DurationVar(&r.params.Duration, "duration", d.Duration, "measured `time` of each arm at each size, all blocks together"+
		defaultText(d.Duration.String(), quickDuration(s.Quick.Duration)))
	f.BoolVar(&r.quick, "quick", false, "a run of a few seconds, to see that all works")
	f.StringVar(&r.json, "json", "", "write the result as JSON to `file`; - for standard output, which then has nothing else")
	return r
}

// parse reads the flags of a scenario. An error is a usage error, or
// flag.ErrHelp.
func parse(s Scenario, args []string) (settings, error) {
	r := newFlags(s)
	if err := r.set.Parse(args); err != nil {
		return settings{}, r.explain(err)
	}
	if r.set.NArg() > 0 {
		return settings{}, fmt.Errorf("unexpected argument %q", r.set.Arg(0))
	}
	given := map[string]bool{}
	r.set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	set := settings{scenario: s, params: r.params, quick: r.quick, json: r.json}
	if r.quick {
		set.params = quickParams(s, r.params, given)
	}
	if !given["producers"] && set.params.Rings > 0 {
		set.params.Producers = min(set.params.Producers, set.params.Rings)
	}
	if given["json"] && r.json == "" {
		return settings{}, errors.New("-json: the name of a file or - is missing")
	}
	var err error
	if set.arms, err = chooseArms(s.Arms, r.arms, given["arms"]); err != nil {
		return settings{}, err
	}
	if set.sizes, err = chooseSizes(s, r.size, r.quick, given["size"]); err != nil {
		return settings{}, err
	}
	set.rounds = roundsFor(s, set.params.Duration, r.quick)
	return set, checkParams(s.Defaults, set.params)
}

// explain says of a flag that other scenarios have that this one has not.
func (r *rawFlags) explain(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	for _, name := range []string{"rings", "producers", "rate"} {
		if r.set.Lookup(name) == nil && err.Error() == "flag provided but not defined: -"+name {
			return fmt.Errorf("scenario %s has no -%s", r.set.Name(), name)
		}
	}
	return err
}

// quickParams replaces what was not given on the command line.
func quickParams(s Scenario, p Params, given map[string]bool) Params {
	q := s.Quick
	if q.Rings != 0 && !given["rings"] {
		p.Rings = q.Rings
	}
	if q.Producers != 0 && !given["producers"] {
		p.Producers = q.Producers
	}
	if q.Rate != 0 && !given["rate"] {
		p.Rate = q.Rate
	}
	if q.Duration != 0 && !given["duration"] {
		p.Duration = q.Duration
	}
	return p
}

func checkParams(defaults, p Params) error {
	switch {
	case defaults.Rings != 0 && p.Rings < 1:
		return fmt.Errorf("-rings %d: at least 1 is needed", p.Rings)
	case defaults.Producers != 0 && p.Producers < 1:
		return fmt.Errorf("-producers %d: at least 1 is needed", p.Producers)
	case defaults.Rings != 0 && p.Producers > p.Rings:
		return fmt.Errorf("-producers %d: there are %d rings, and each process needs one", p.Producers, p.Rings)
	case p.Rate < 0:
		return fmt.Errorf("-rate %d: a number of messages a second, or 0", p.Rate)
	case p.Duration <= 0:
		return fmt.Errorf("-duration %v: a time above 0 is needed", p.Duration)
	}
	return nil
}

// chooseArms returns the arms named, in the order of the scenario.
func chooseArms(all []Arm, names string, given bool) ([]Arm, error) {
	if !given {
		return all, nil
	}
	var known, chosen []string
	for _, a := range all {
		known = append(known, a.Name)
	}
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("-arms: no arm %q; there are %s", name, strings.Join(known, ", "))
		}
		chosen = append(chosen, name)
	}
	var arms []Arm
	for _, a := range all {
		if slices.Contains(chosen, a.Name) {
			arms = append(arms, a)
		}
	}
	return arms, nil
}

func chooseSizes(s Scenario, text string, quick, given bool) ([]int, error) {
	switch {
	case !given && quick && s.Quick.Size != 0:
		return []int{s.Quick.Size}, nil
	case !given:
		return s.Sizes, nil
	}
	var sizes []int
	for field := range strings.SplitSeq(text, ",") {
		n, err := parseSize(field)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(sizes, n) {
			sizes = append(sizes, n)
		}
	}
	return sizes, nil
}

// parseSize reads bytes: 64, 64B, 4KiB, 1MiB.
func parseSize(text string) (int, error) {
	text = strings.ReplaceAll(text, " ", "")
	number, factor := text, 1
	for _, u := range byteCounts {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			number, factor = rest, int(u.size)
		}
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return 0, fmt.Errorf("-size %q: a number of bytes is needed, as in 64, 4KiB, 1MiB", text)
	}
	if n < 1 || n > maxSize/factor || n*factor < minSize {
		return 0, fmt.Errorf("-size %s: %d bytes to %s are possible", text, minSize, byteSize(maxSize))
	}
	return n * factor, nil
}

// Texts of defaults, for the help.

func defaultText(value, quick string) string {
	if quick != "" && quick != value {
		return " (default " + value + "; quick " + quick + ")"
	}
	return " (default " + value + ")"
}

func quickInt(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func quickDuration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func quickSize(s Scenario) string {
	if s.Quick.Size == 0 {
		return ""
	}
	return sizesText([]int{s.Quick.Size})
}

func sizesText(sizes []int) string {
	var texts []string
	for _, n := range sizes {
		texts = append(texts, strings.ReplaceAll(byteSize(n), " ", ""))
	}
	return strings.Join(texts, ",")
}
