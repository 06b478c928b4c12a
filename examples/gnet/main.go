// Command gnet is a gnet server that keeps a table of counts: a request is a number, and
// the answer how often it was asked for so far. It takes requests over TCP, over a unix
// socket and over rings, and answers all of them on one event loop, so the table needs no
// lock.
//
//	go run ./examples/gnet                                       # a server and a client of each kind
//	go run ./examples/gnet -listen /tmp/count -tcp :9000         # the server alone, until Ctrl-C
//	go run ./examples/gnet -connect localhost:9000 -via tcp      # a client over TCP
//	go run ./examples/gnet -connect /tmp/count -via unix         # a client over the unix socket
//	go run ./examples/gnet -connect /tmp/count -via ring         # a client over a pair of rings
//
// The unix socket is one for both: the first bytes of a connection tell whether it asks for
// rings.
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
	tcp     string
	connect string
	via     string
	count   int
}

func parse(args []string) (settings, error) {
	var s settings
	f := flag.NewFlagSet("gnet", flag.ContinueOnError)
	f.StringVar(&s.listen, "listen", "", "serve at this unix socket `path` and start no clients")
	f.StringVar(&s.tcp, "tcp", "127.0.0.1:0", "serve at this TCP `address` too")
	f.StringVar(&s.connect, "connect", "", "be a client of the server at this `address`: a path, or a host and port with -via tcp")
	f.StringVar(&s.via, "via", "ring", "what a client talks over: tcp, unix or ring")
	f.IntVar(&s.count, "count", 10_000, "`requests` of each client")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	switch {
	case f.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case s.listen != "" && s.connect != "":
		return s, errors.New("-listen and -connect are two halves: give one of them")
	case dialers[s.via] == nil:
		return s, fmt.Errorf("-via %q: tcp, unix or ring", s.via)
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
		fmt.Fprintln(os.Stderr, "gnet:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "gnet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	if s.connect != "" {
		return request(ctx, s)
	}
	path := s.listen
	if path == "" {
		dir, err := os.MkdirTemp("", "gnet")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "count")
	}
	srv, err := start(path, s.tcp)
	if err != nil {
		return err
	}
	if s.listen == "" {
		err = runClients(ctx, s, srv)
	} else {
		fmt.Printf("server: at %s and tcp %s; Ctrl-C ends it\n", path, srv.tcp)
		select {
		case <-ctx.Done():
		case <-srv.ended:
		}
	}
	err = errors.Join(err, srv.stop())
	fmt.Printf("server: %d requests over tcp, %d over unix and %d over rings, on one event loop\n",
		srv.asked["tcp"], srv.asked["unix"], srv.asked["ring"])
	return err
}

// runClients runs a client of each kind, in processes of their own, at the same time.
func runClients(ctx context.Context, s settings, srv *server) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	var clients []*exec.Cmd
	var errs []error
	for via, address := range map[string]string{"tcp": srv.tcp, "unix": srv.path, "ring": srv.path} {
		c := exec.CommandContext(ctx, exe, "-connect", address, "-via", via, "-count", strconv.Itoa(s.count))
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
