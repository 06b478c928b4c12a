package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	gnetring "github.com/shmloop/shmloop/adapters/gnet"
	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

// batch is how many requests of a ring are answered in one turn.
const batch = 64

// ring is a client with a ring each way. Its callbacks run on gnet's event loop.
type ring struct {
	s   *server
	rx  *sharedring.Receiver[uint64]
	tx  *sharedring.Sender[uint64]
	buf [batch]uint64
}

// serveRing is called when a client has its rings.
func (s *server) serveRing(c *gnetring.Client) error {
	if c.Request().Direction != handoff.Duplex {
		return errors.New("a client sends requests and receives answers")
	}
	r := &ring{s: s}
	if err := r.open(c); err != nil {
		return errors.Join(err, r.close())
	}
	_, err := c.Attach(r.rx, reactor.Handler{Ready: r.ready, Closed: r.closed})
	if err != nil {
		return errors.Join(err, r.close())
	}
	return nil
}

func (r *ring) open(c *gnetring.Client) error {
	in, err := c.In()
	if err != nil {
		return err
	}
	if r.rx, err = sharedring.OpenReceiver[uint64](in); err != nil {
		return err
	}
	out, err := c.Out()
	if err != nil {
		return err
	}
	r.tx, err = sharedring.OpenSender[uint64](out)
	return err
}

// ready is one turn: the same answers as in OnTraffic.
func (r *ring) ready(reactor.Event) error {
	n, err := r.rx.Receive(r.buf[:])
	if n == 0 || err != nil {
		return err
	}
	for i, number := range r.buf[:n] {
		r.buf[i] = r.s.answer("ring", number)
	}
	sent, err := r.tx.Send(r.buf[:n])
	if err == nil && sent < n {
		err = errors.New("the client does not read its answers")
	}
	return err
}

// closed is the last callback. gnetring closes the connection.
func (r *ring) closed(err error) {
	if !errors.Is(err, io.EOF) && !errors.Is(err, reactor.ErrClosed) {
		fmt.Fprintln(os.Stderr, "gnet: a client with rings ended:", err)
	}
	if err := r.close(); err != nil {
		fmt.Fprintln(os.Stderr, "gnet:", err)
	}
}

func (r *ring) close() error {
	var errs []error
	if r.rx != nil {
		errs = append(errs, r.rx.Close())
	}
	if r.tx != nil {
		errs = append(errs, r.tx.Close())
	}
	return errors.Join(errs...)
}
