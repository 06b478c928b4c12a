package server

import (
	"errors"
	"fmt"
	"sync"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

// A Conn is a client with its rings. Close, Pause, Resume, Send, SetOutbound,
// Dropped, Count and what returns a constant may be called from any goroutine; the
// rest is for callbacks.
type Conn[T any] struct {
	// Data is the user's. It is not touched here, and needs a lock if it is used
	// outside callbacks.
	Data any

	server *Server[T]
	home   *home[T]
	link   *handoff.Conn
	rx     *sharedring.Receiver[T] // nil if the client does not send
	tx     *sharedring.Sender[T]   // nil if the client does not receive

	mu       sync.Mutex // also over all calls of tx but those of the user
	outbound Outbound
	paused   bool
	dropped  uint64
	blocked  bool          // a Send with Block is under way
	room     chan struct{} // closed when there may be room; nil if nobody waits

	// Of the loop's goroutine; in and out are written under mu.
	in, out     *reactor.Registration
	life, death *reactor.Registration // lifeline and pidfd
	index       int                   // in home.conns
	idle        bool                  // the receiving end sleeps
	gone        bool                  // the peer ended
	ended       bool                  // the peer ended, or Shutdown wants the same
	endErr      error                 // how, nil for cleanly
	finished    bool
}

// Peer returns who the client is.
func (c *Conn[T]) Peer() handoff.Peer { return c.link.Peer() }

// Request returns what the client asked for.
func (c *Conn[T]) Request() handoff.Request { return c.link.Request() }

// Loop returns the loop that serves the connection, for Post and for descriptors
// that belong to it.
func (c *Conn[T]) Loop() *reactor.Loop { return c.home.loop }

// Receiver returns the end to receive from, nil if the client does not send. It is
// for use in callbacks. The server closes it.
func (c *Conn[T]) Receiver() *sharedring.Receiver[T] { return c.rx }

// Sender returns the end to send with, nil if the client does not receive. It is
// for use in Open, Ready and Close, and only where nobody else calls Send. After a
// call in Ready that came up short there is another Ready when there is room. The
// server closes it.
func (c *Conn[T]) Sender() *sharedring.Sender[T] { return c.tx }

// Receive is [sharedring.Receiver.Receive], counted in Stats. It is for use in
// callbacks. The error matches handoff.ErrNoRing if the client does not send.
func (c *Conn[T]) Receive(dst []T) (int, error) {
	if c.rx == nil {
		return 0, fmt.Errorf("server: receive from a client that only receives: %w", handoff.ErrNoRing)
	}
	n, err := c.rx.Receive(dst)
	c.Count(n)
	return n, err
}

// Count adds items to Stats that were moved with Receiver or Sender themselves.
func (c *Conn[T]) Count(items int) { c.server.counters.items.Add(uint64(items)) }

// Pause holds back Ready for items to receive, until Resume: a client that goes on
// sending finds its ring full. When there is room to send Ready is still called. A
// client that ends with items in its ring is not closed before Resume, unless
// Close or the server does it.
func (c *Conn[T]) Pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = true
	if c.in != nil {
		c.in.Pause()
	}
}

// Resume takes Pause back. It costs little if there was none.
func (c *Conn[T]) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.paused {
		return
	}
	c.paused = false
	if c.in != nil {
		_ = c.in.Resume() // an error means that it has ended
	}
}

// Close ends the connection; what is in its ring is not received. It returns at
// once, and the callback Close, with ErrClosed, follows on the loop. Further calls
// do nothing.
func (c *Conn[T]) Close() error { return c.endLater(ErrClosed) }

func (c *Conn[T]) endLater(cause error) error {
	err := c.home.loop.Post(func() { c.finish(cause) })
	if errors.Is(err, reactor.ErrClosed) {
		return nil // which ends the connection as well
	}
	return err
}

// newConn opens the ends of a client's rings. The descriptors of link stay the
// caller's if it fails.
func (s *Server[T]) newConn(link *handoff.Conn) (*Conn[T], error) {
	req := link.Request()
	if req.ItemSize != sizeOf[T]() {
		return nil, fmt.Errorf("server: the client's items have %d bytes, not %d: %w", req.ItemSize, sizeOf[T](), ringbuf.ErrItemType)
	}
	c := &Conn[T]{server: s, link: link}
	if err := c.openEnds(req.Direction); err != nil {
		return nil, errors.Join(err, c.closeEnds())
	}
	return c, nil
}

func (c *Conn[T]) openEnds(d handoff.Direction) error {
	if d&handoff.Out != 0 {
		h, err := c.link.In()
		if err != nil {
			return err
		}
		if c.rx, err = sharedring.OpenReceiver[T](h, c.server.cfg.Rings...); err != nil {
			return err
		}
	}
	if d&handoff.In != 0 {
		h, err := c.link.Out()
		if err != nil {
			return err
		}
		if c.tx, err = sharedring.OpenSender[T](h, c.server.cfg.Rings...); err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn[T]) closeEnds() error {
	var errs []error
	if c.rx != nil {
		errs = append(errs, c.rx.Close())
	}
	if c.tx != nil {
		errs = append(errs, c.tx.Close())
	}
	return errors.Join(errs...)
}
