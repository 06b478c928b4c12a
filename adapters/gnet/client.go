package gnetring

import (
	"errors"
	"fmt"
	"io"

	"github.com/panjf2000/gnet/v2"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

// A Client is a process that was given rings on a connection of gnet's; see
// WithHandshake. The connection is its lifeline. When the client says farewell its rings
// are drained and end with io.EOF, when the connection breaks without that they
// are drained and end with sharedring.ErrPeerGone. When one of the rings ends for another
// reason, or its Registration is closed, the connection and its other rings are closed;
// so is the connection when no ring is left.
//
// The methods may be called from any goroutine.
type Client struct {
	rings *Rings
	link  *link
	grant *handoff.Grant

	// Under the link's lock.
	over    bool  // the client ended
	reason  error // how, nil for cleanly
	closing bool  // this side ends it
	freed   bool  // grant is closed
}

// grant answers a request, on the event loop.
func (x *Rings) grant(k *link, head []byte) gnet.Action {
	g, err := x.granter.Grant(k.conn.Fd(), head)
	if err != nil {
		return gnet.Close // the client was told why
	}
	c := &Client{rings: x, link: k, grant: g}
	k.mu.Lock()
	k.client = c
	k.mu.Unlock()
	if err := x.onClient(c); err != nil {
		return gnet.Close
	}
	return c.lifeline()
}

func (k *link) clientOf() *Client {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.client
}

// Peer returns who the client is.
func (c *Client) Peer() handoff.Peer { return c.grant.Peer() }

// Request returns what the client asked for.
func (c *Client) Request() handoff.Request { return c.grant.Request() }

// Conn returns the connection, for its EventLoop and Context. Nothing may be written to
// it or read from it.
func (c *Client) Conn() gnet.Conn { return c.link.conn }

// In returns the ring on which this side receives, for sharedring.OpenReceiver. Its
// descriptors are the caller's. The error matches handoff.ErrNoRing if there is none or
// it was taken before, ErrConnClosed if the client is gone.
func (c *Client) In() (sharedring.Handle, error) { return c.take((*handoff.Grant).In) }

// Out returns the ring on which this side sends, as In does.
func (c *Client) Out() (sharedring.Handle, error) { return c.take((*handoff.Grant).Out) }

func (c *Client) take(from func(*handoff.Grant) (sharedring.Handle, error)) (sharedring.Handle, error) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if c.freed {
		return sharedring.Handle{}, fmt.Errorf("gnetring: take a ring: %w", ErrConnClosed)
	}
	return from(c.grant)
}

// Attach services one of the client's rings on its event loop; see Loop.Attach. The ring
// stays the caller's, who closes it in Closed, or after Registration.Close, which calls
// nobody back. A client that left before its first ring was attached is gone: the error
// then matches ErrConnClosed.
func (c *Client) Attach(s reactor.Source, h reactor.Handler, opts ...AttachOption) (*Registration, error) {
	l, err := c.rings.Loop(c.link.conn.EventLoop())
	if err != nil {
		return nil, err
	}
	r, err := l.attach(s, h, c.link, opts)
	if err != nil {
		return nil, err
	}
	c.link.mu.Lock()
	over, reason := c.over, c.reason
	c.link.mu.Unlock()
	if over { // when r was not among its rings yet, maybe
		r.hangUp(reason)
	}
	return r, nil
}

// Close ends the connection and with it the rings, with ErrConnClosed. It does not wait
// for that. Further calls do nothing.
func (c *Client) Close() error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.close()
	return nil
}

// close needs the link's lock.
func (c *Client) close() {
	c.closing = true
	c.link.close()
}

// ringEnded is told that one of the rings ended, and why, nil if it was closed here. It
// needs the link's lock. If its peer ended it, the others go on: a client may close one
// and wait for what comes on the other, and a client that died ends all of them.
func (c *Client) ringEnded(cause error) {
	byPeer := errors.Is(cause, io.EOF) || errors.Is(cause, sharedring.ErrPeerGone)
	if !c.over && !byPeer || len(c.link.rings) == 0 {
		c.close()
	}
	c.freeIfDone()
}

// freeIfDone gives the quota back when the connection and all rings are closed. It needs the
// link's lock.
func (c *Client) freeIfDone() {
	if c.link.gone && len(c.link.rings) == 0 && !c.freed {
		c.freed = true
		_ = c.grant.Close() // closes what was not taken; nothing else could fail
	}
}

// lifeline looks at what the client sent, on the event loop.
func (c *Client) lifeline() gnet.Action {
	conn := c.link.conn
	if conn.InboundBuffered() == 0 {
		return gnet.None
	}
	b, err := conn.Next(1)
	if err != nil {
		return gnet.Close
	}
	said := b[0]
	_, _ = conn.Discard(-1) // nothing counts after it
	if said == handoff.Farewell {
		c.hungUp(nil)
		return gnet.None
	}
	c.hungUp(fmt.Errorf("gnetring: byte %#x on the lifeline: %w", said, handoff.ErrProtocol))
	return gnet.Close
}

// hungUp drains the rings. The first call counts.
func (c *Client) hungUp(reason error) {
	c.link.mu.Lock()
	first := !c.over
	if first {
		c.over, c.reason = true, reason
	}
	var rings []*Registration
	for r := range c.link.rings {
		rings = append(rings, r)
	}
	c.link.mu.Unlock()
	if !first {
		return
	}
	for _, r := range rings {
		r.hangUp(reason)
	}
}

// connClosed is OnClose. err is nil if this side closed the connection.
func (c *Client) connClosed(l *Loop, err error) {
	c.link.mu.Lock()
	over, closing := c.over, c.closing
	c.link.mu.Unlock()
	switch {
	case err != nil:
		peer := c.Peer()
		c.hungUp(fmt.Errorf("gnetring: client (pid %d, uid %d) ended without a farewell: %w", peer.PID, peer.UID, sharedring.ErrPeerGone))
	case closing || !over:
		c.link.fail(l, fmt.Errorf("gnetring: %w", ErrConnClosed))
	}
	if err == nil {
		// After the rings, which may have something for the client.
		_, _ = c.link.conn.Write([]byte{handoff.Farewell})
	}
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.freeIfDone()
}
