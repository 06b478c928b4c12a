package main

import (
	"context"
	"errors"
	"io"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

// ring is a client with a ring each way.
type ring struct {
	s    *server
	conn *handoff.Conn
	rx   *sharedring.Receiver[byte]
	tx   *sharedring.Sender[byte]
}

// handOut waits for clients on a goroutine of its own, and gives them to the loop.
func (s *server) handOut(ctx context.Context) {
	for {
		conn, err := s.handout.Accept(ctx)
		if err != nil {
			return
		}
		if err := s.rings.Post(func() { s.addRing(conn) }); err != nil {
			_ = conn.Close()
		}
	}
}

func (s *server) addRing(conn *handoff.Conn) {
	rx, tx, err := openEnds(conn)
	if err != nil {
		report("ring", errors.Join(err, conn.Close()))
		return
	}
	c := &ring{s, conn, rx, tx}
	_, err = s.rings.Attach(rx, reactor.Handler{Ready: c.answer, Closed: c.close})
	if err != nil {
		c.close(err)
		return
	}
	// Two descriptors that tell of the client's end, in the same epoll set.
	for _, fd := range []int{conn.FD(), conn.PidFD()} {
		if fd < 0 {
			continue
		}
		if err := s.watch(fd, c.check); err != nil {
			rx.HangUp(err)
		}
	}
}

// answer is one turn of a ring.
func (c *ring) answer(reactor.Event) error {
	n, err := c.rx.Receive(c.s.buf)
	if n == 0 || err != nil {
		return err
	}
	c.s.byRing++
	sent, err := c.tx.Send(c.s.buf[:n])
	if err == nil && sent < n {
		err = errSlow
	}
	return err
}

// check is called when the client has most likely ended. What it has sent is still
// answered; then the ring says how it ended.
func (c *ring) check() {
	if ended, err := c.conn.Check(); ended {
		c.unwatch()
		c.rx.HangUp(err)
	}
}

// close is the last callback of a ring.
func (c *ring) close(reason error) {
	if !errors.Is(reason, io.EOF) && !errors.Is(reason, reactor.ErrClosed) {
		report("ring", reason)
	}
	c.unwatch()
	if err := errors.Join(c.tx.Close(), c.rx.Close(), c.conn.Close()); err != nil {
		report("ring", err)
	}
}

func (c *ring) unwatch() {
	for _, fd := range []int{c.conn.FD(), c.conn.PidFD()} {
		if fd >= 0 {
			c.s.unwatch(fd)
		}
	}
}
