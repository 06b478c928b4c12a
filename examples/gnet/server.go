package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/panjf2000/gnet/v2"

	gnetring "github.com/shmloop/shmloop/adapters/gnet"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

// server is a gnet.EventHandler. counts and asked belong to the event loop, with no lock.
type server struct {
	gnet.BuiltinEventEngine
	path, tcp string // addresses
	engine    gnet.Engine
	booted    chan error
	ended     chan struct{} // closed when err is set
	err       error

	counts map[uint64]uint64 // how often each number was asked for
	asked  map[string]int    // requests by the way they took
}

// start serves at both addresses until stop.
func start(path, tcp string) (*server, error) {
	s := &server{
		path: path, tcp: tcp, booted: make(chan error, 1), ended: make(chan struct{}),
		counts: map[uint64]uint64{}, asked: map[string]int{},
	}
	// With sockets as doorbells gnet itself waits for them, though clients are not trusted.
	rings := gnetring.Wrap(s, gnetring.WithHandshake(handoff.Config{SocketDoorbells: true}, s.serveRing))
	go func() {
		defer close(s.ended)
		s.err = gnet.Rotate(rings, []string{"unix://" + path, "tcp://" + tcp}, gnet.WithNumEventLoop(1), gnet.WithLogger(silence{}))
	}()
	select {
	case err := <-s.booted:
		if err != nil {
			return nil, errors.Join(err, s.stop())
		}
		return s, nil
	case <-s.ended:
		return nil, s.err
	}
}

// stop ends all connections and rings.
func (s *server) stop() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.engine.Stop(ctx) // asks only
	<-s.ended
	return s.err
}

// OnBoot is called when gnet listens.
func (s *server) OnBoot(e gnet.Engine) gnet.Action {
	s.engine = e
	address, err := boundTo(e, s.tcp)
	s.tcp = address
	s.booted <- err
	return gnet.None
}

// boundTo returns the address that the kernel chose for port 0.
func boundTo(e gnet.Engine, address string) (string, error) {
	fd, err := e.DupListener("tcp", address)
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// OnTraffic answers requests that came over a socket: 8 bytes each, in native byte order
// as in a ring. gnet keeps the part of one.
func (s *server) OnTraffic(c gnet.Conn) gnet.Action {
	b, err := c.Next(c.InboundBuffered() / 8 * 8)
	if err != nil {
		return gnet.Close
	}
	answers := make([]byte, 0, len(b))
	for ; len(b) > 0; b = b[8:] {
		answers = binary.NativeEndian.AppendUint64(answers, s.answer(c.LocalAddr().Network(), binary.NativeEndian.Uint64(b)))
	}
	if _, err := c.Write(answers); err != nil {
		return gnet.Close
	}
	return gnet.None
}

func (s *server) answer(way string, number uint64) uint64 {
	s.asked[way]++
	s.counts[number]++
	return s.counts[number]
}

// silence is a logger for gnet, which would tell of each connection that ends.
type silence struct{}

func (silence) Debugf(string, ...any)          {}
func (silence) Infof(string, ...any)           {}
func (silence) Warnf(string, ...any)           {}
func (silence) Errorf(format string, a ...any) { fmt.Fprintf(os.Stderr, format+"\n", a...) }
func (silence) Fatalf(format string, a ...any) { fmt.Fprintf(os.Stderr, format+"\n", a...) }
