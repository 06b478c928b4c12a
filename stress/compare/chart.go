package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/shmloop/shmloop/stress/compare/chart"
)

const chartUsage = `compare chart [flags] [FILE.json ...]

Draws what the scenarios measured, from files that -json wrote. Without files it runs
what the pictures show, some minutes with the defaults, and keeps the JSON beside them.
It writes NAME.svg, NAME.png and index.html, a page that needs no other file.

`

// The runs that the pictures show. Latency needs several rates, CPU several numbers
// of rings.
var chartRuns = []struct {
	file string
	args []string
}{
	{"echo", []string{"echo"}},
	{"stream", []string{"stream"}},
	{"fanin-10", []string{"fanin", "-rings", "10"}},
	{"fanin-100", []string{"fanin", "-rings", "100"}},
	{"fanin-1000", []string{"fanin", "-rings", "1000"}},
	{"fanin-10-paced", []string{"fanin", "-rings", "10", "-rate", "100000"}},
	{"fanin-100-paced", []string{"fanin", "-rings", "100", "-rate", "100000"}},
	{"fanin-1000-slow", []string{"fanin", "-rings", "1000", "-rate", "10000"}},
	{"fanin-1000-paced", []string{"fanin", "-rings", "1000", "-rate", "100000"}},
	{"fanin-1000-fast", []string{"fanin", "-rings", "1000", "-rate", "300000"}},
}

// chartMain is the command chart. It returns the exit status.
func chartMain(args []string) int {
	flags := flag.NewFlagSet("chart", flag.ContinueOnError)
	out := flags.String("out", "pictures", "folder for the pictures, made if need be")
	quick := flags.Bool("quick", false, "run for seconds; the pictures are rough")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), chartUsage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if err := drawAll(*out, flags.Args(), *quick); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		return 1
	}
	return 0
}

// drawAll draws what there is. A run that failed in part is drawn too, and is an error.
func drawAll(dir string, files []string, quick bool) error {
	var failed error
	if len(files) == 0 {
		files, failed = measureAll(dir, quick)
	}
	if len(files) == 0 {
		return failed
	}
	runs, err := chart.ReadFiles(files)
	if err != nil {
		return errors.Join(failed, err)
	}
	paths, err := chart.Draw(dir, runs)
	for _, path := range paths {
		fmt.Println(path)
	}
	return errors.Join(failed, err)
}

// measureAll runs this program for each of chartRuns, and returns the files it wrote
// and what failed.
func measureAll(dir string, quick bool) (files []string, failed error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for _, run := range chartRuns {
		file := filepath.Join(dir, run.file+".json")
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		args := append(slices.Clone(run.args), "-json", file)
		if quick {
			args = append(args, "-quick")
		}
		fmt.Fprintln(os.Stderr, "==", strings.Join(args, " "))
		cmd := exec.CommandContext(ctx, self, args...)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		err := cmd.Run()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", strings.Join(args, " "), err))
		}
		if _, err := os.Stat(file); err == nil {
			files = append(files, file)
		}
	}
	return files, failed
}
