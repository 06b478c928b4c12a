// Command epoll is an echo server with an epoll loop written by hand, which serves rings
// beside its sockets, on the same goroutine.
//
//	go run ./examples/epoll                                  # a server and a client of each kind
//	go run ./examples/epoll -listen /tmp/echo                # the server alone, until Ctrl-C
//	go run ./examples/epoll -connect /tmp/echo -via socket   # a client on the unix socket
//	go run ./examples/epoll -connect /tmp/echo -via ring     # a client on a pair of rings
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
)

type settings struct {
	listen  string
	connect string
	via     string
	count   int
}

func parse(args []string) (settings, error) {
	var s settings
	f := flag.NewFlagSet("epoll", flag.ContinueOnError)
	f.StringVar(&s.listen, "listen", "", "serve at this socket `path` and start no clients")
	f.StringVar(&s.connect, "connect", "", "be a client of the server at this socket `path`")
	f.StringVar(&s.via, "via", "ring", "what a client talks over: socket or ring")
	f.IntVar(&s.count, "count", 10_000, "`requests` of each client")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	switch {
	case f.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case s.listen != "" && s.connect != "":
		return s, errors.New("-listen and -connect are two halves: give one of them")
	case s.via != "socket" && s.via != "ring":
		return s, fmt.Errorf("-via %q: socket or ring", s.via)
	case s.count < 1:
		return s, fmt.Errorf("-count %d: at least 1 is needed", s.count)
	}
	return s, nil
}

func main() {
	s, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "epoll:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "epoll:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	if s.connect != "" {
		return request(ctx, s)
	}
	path := s.listen
	if path == "" {
		dir, err := os.MkdirTemp("", "epoll")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "echo")
	}
	srv, err := newServer(path)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- srv.serve(ctx) }()
	if s.listen == "" {
		err = runClients(ctx, s, path)
		stop()
	}
	err = errors.Join(err, <-served)
	fmt.Printf("server: %d requests over sockets and %d over rings, on one goroutine\n", srv.bySocket, srv.byRing)
	return err
}

// runClients runs a client of each kind, in processes of their own, at the same time.
func runClients(ctx context.Context, s settings, path string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	var clients []*exec.Cmd
	var errs []error
	for _, via := range []string{"socket", "ring"} {
		c := exec.CommandContext(ctx, exe, "-connect", path, "-via", via, "-count", strconv.Itoa(s.count))
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Start(); err != nil {
			errs = append(errs, err)
			continue
		}
		clients = append(clients, c)
	}
	for _, c := range clients {
		if err := c.Wait(); err != nil && ctx.Err() == nil {
			errs = append(errs, fmt.Errorf("%s: %w", c, err))
		}
	}
	return errors.Join(errs...)
}
