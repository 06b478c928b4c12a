// Command fanin moves records from many producer processes into one server
// process, through one shared ring each, all serviced by one event loop.
//
//	go run ./examples/fanin                          # a server and 8 producers of its own
//	go run ./examples/fanin -listen /tmp/fanin.sock  # the server alone, until Ctrl-C
//	go run ./examples/fanin -connect /tmp/fanin.sock # one producer process
//
// At the end it prints what arrived: every record has a sequence number, so one
// that is lost, doubled or out of order is counted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// maxSize keeps a record's frame within what the server holds in private memory.
const maxSize = 1 << 20

type settings struct {
	producers int
	rings     int
	duration  time.Duration
	size      int
	json      string
	listen    string
	connect   string
}

func parse(args []string) (settings, error) {
	var s settings
	f := flag.NewFlagSet("fanin", flag.ContinueOnError)
	f.IntVar(&s.producers, "producers", 8, "producer `processes` to start")
	f.IntVar(&s.rings, "rings", 0, "`rings` in all, shared out among the producers; 0 means one each")
	f.DurationVar(&s.duration, "duration", 5*time.Second, "how long each producer sends; with -listen, how long to serve (0: until Ctrl-C)")
	f.IntVar(&s.size, "size", 64, "payload `bytes` of a record")
	f.StringVar(&s.json, "json", "", "write the result as JSON to `file`, or - for standard output")
	f.StringVar(&s.listen, "listen", "", "serve at this socket `path` and start no producers")
	f.StringVar(&s.connect, "connect", "", "be one producer process of the server at this socket `path`")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if s.listen != "" && !given["duration"] {
		s.duration = 0
	}
	if s.connect != "" && !given["producers"] {
		s.producers = 1
	}
	if s.rings == 0 {
		s.rings = s.producers
	}
	return s, s.check(f.Args())
}

func (s settings) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case s.listen != "" && s.connect != "":
		return errors.New("-listen and -connect are two halves: give one of them")
	case s.producers < 1:
		return fmt.Errorf("-producers %d: at least 1 is needed", s.producers)
	case s.connect != "" && s.producers != 1:
		return errors.New("-connect is one producer process: -producers does not go with it")
	case s.rings < s.producers:
		return fmt.Errorf("-rings %d: each of the %d producers needs one", s.rings, s.producers)
	case s.size < 0 || s.size > maxSize:
		return fmt.Errorf("-size %d: 0 to %d bytes are possible", s.size, maxSize)
	case s.duration < 0, s.duration == 0 && s.listen == "":
		return fmt.Errorf("-duration %v: a positive time is needed", s.duration)
	case s.connect != "" && s.json != "":
		return errors.New("-json is for the server, which has the result")
	}
	return nil
}

func main() {
	s, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fanin:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "fanin:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	switch {
	case s.connect != "":
		return produce(ctx, s)
	case s.listen != "":
		return serve(ctx, s, s.listen, nil)
	}
	dir, err := os.MkdirTemp("", "fanin")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "socket")
	return serve(ctx, s, path, func() error { return runProducers(ctx, s, path) })
}

// runProducers starts the producer processes and waits for them. When ctx ends
// they are asked to finish, not killed.
func runProducers(ctx context.Context, s settings, path string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	var running []*exec.Cmd
	var errs []error
	for i := range s.producers {
		rings := s.rings / s.producers
		if i < s.rings%s.producers {
			rings++
		}
		cmd := exec.CommandContext(ctx, exe, "-connect", path, "-rings", strconv.Itoa(rings),
			"-duration", s.duration.String(), "-size", strconv.Itoa(s.size))
		cmd.Stderr = os.Stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 5 * time.Second
		if err := cmd.Start(); err != nil {
			errs = append(errs, fmt.Errorf("start producer %d: %w", i, err))
			break
		}
		running = append(running, cmd)
	}
	for i, cmd := range running {
		// After an interrupt one that had hardly begun ends by the signal itself.
		if err := cmd.Wait(); err != nil && ctx.Err() == nil {
			errs = append(errs, fmt.Errorf("producer %d: %w", i, err))
		}
	}
	return errors.Join(errs...)
}
