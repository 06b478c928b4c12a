package harness

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1 // or messages were lost, duplicated or reordered
	exitUsage  = 2
)

// Main runs the program with its command line and exits: 0, 1 if a message was
// lost, duplicated or reordered or an arm failed, 2 for wrong usage. The program
// starts itself again for each block and each peer, so nothing may come before
// Main that these should not do.
func Main(program string, scenarios []Scenario, peers map[string]Peer) {
	if IsChild() {
		os.Exit(childMain(scenarios, peers, os.Args[1], os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not ask
	a := app{name: program, scenarios: scenarios, out: os.Stdout, log: os.Stderr, patience: blockPatience, ticks: readTicks}
	os.Exit(a.main(ctx, os.Args[1:]))
}

// IsChild reports whether this process is a block or a peer that the harness
// started. A program with commands beside its scenarios looks at it first.
func IsChild() bool {
	if len(os.Args) < 2 {
		return false
	}
	switch os.Args[1] {
	case blockCommand, peerCommand, floorsCommand:
		return true
	}
	return false
}

// childMain is the main function of the hidden commands.
func childMain(scenarios []Scenario, peers map[string]Peer, command string, args []string) int {
	var err error
	switch command {
	case blockCommand:
		err = blockMain(scenarios, args)
	case peerCommand:
		err = peerMain(peers, args)
	case floorsCommand:
		err = floorsMain()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return exitOK
}

// An app is the program as its user sees it.
type app struct {
	name      string
	scenarios []Scenario
	out, log  io.Writer
	patience  time.Duration // with a block
	ticks     func() (cpuTicks, error)
}

// A usageError is one of the command line.
type usageError struct {
	command string // to ask for help
	err     error
}

func (e usageError) Error() string { return fmt.Sprintf("%v\n%s -h tells more.", e.err, e.command) }

func (a app) main(ctx context.Context, args []string) int {
	err := a.command(ctx, args)
	if err == nil {
		return exitOK
	}
	for _, e := range parts(err) {
		fmt.Fprintf(a.log, "%s: %v\n", a.name, e)
	}
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailed
}

// parts returns the errors that were joined.
func parts(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, parts(e)...)
	}
	return all
}

func (a app) command(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return usageError{a.name, fmt.Errorf("a scenario is needed: %s", a.names())}
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		printProgramHelp(a.out, a.name, a.scenarios)
		return nil
	}
	for _, s := range a.scenarios {
		if s.Name != args[0] {
			continue
		}
		set, err := parse(s, args[1:])
		switch {
		case errors.Is(err, flag.ErrHelp):
			printScenarioHelp(a.out, a.name, s)
			return nil
		case err != nil:
			return usageError{a.name + " " + s.Name, err}
		}
		return a.measure(ctx, set)
	}
	return usageError{a.name, fmt.Errorf("no scenario %q; there are %s", args[0], a.names())}
}

func (a app) names() string {
	var names []string
	for _, s := range a.scenarios {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// measure runs a scenario and reports.
func (a app) measure(ctx context.Context, set settings) error {
	if err := checkFile(set.json); err != nil {
		return err
	}
	progress := newProgress(a.log, set)
	floors, err := measureFloors(ctx)
	if err != nil {
		return interrupted(ctx, err)
	}
	r := run{settings: set, ticks: a.ticks, progress: progress}
	r.measure = func(ctx context.Context, arm Arm, p Params) (Result, error) {
		return runBlock(ctx, a.patience, set.scenario.Name, arm.Name, p)
	}
	all, err := r.do(ctx)
	progress.clear()
	if err != nil {
		return interrupted(ctx, err)
	}
	return errors.Join(a.show(report{set, thisHost(), floors, all, pairs(all)}), verdict(all))
}

// show prints the tables and writes the JSON.
func (a app) show(r report) error {
	if r.set.json == "-" {
		r.print(a.log)
	} else {
		r.print(a.out)
	}
	if r.set.json == "" {
		return nil
	}
	b, err := newDocument(r).encode()
	if err != nil {
		return err
	}
	if r.set.json == "-" {
		_, err = a.out.Write(b)
	} else {
		err = os.WriteFile(r.set.json, b, 0o666)
	}
	return err
}

// checkFile is an error if the file cannot be written: better now than after a
// long run. What it has stays until then.
func checkFile(name string) error {
	if name == "" || name == "-" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("-json: %w", err)
	}
	return f.Close()
}

// interrupted is err, unless a signal is the reason.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

// verdict is an error if an arm failed or a message did not come once and in
// order.
func verdict(all []*series) error {
	var errs []error
	for _, s := range all {
		if s.failed != nil {
			errs = append(errs, fmt.Errorf("%s at %s failed: %w", s.arm.Name, byteSize(s.size), s.failed))
		}
		if s.wrong() > 0 {
			errs = append(errs, fmt.Errorf("%s at %s: %d messages lost, %d duplicated, %d reordered",
				s.arm.Name, byteSize(s.size), s.lost, s.duplicated, s.reordered))
		}
	}
	return errors.Join(errs...)
}
