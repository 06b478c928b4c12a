package server

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

// All of this file runs on the loop's goroutine.

// begin is the first step of a connection on its loop.
func (c *Conn[T]) begin() {
	accepted := false
	defer func() { // also when Open calls runtime.Goexit
		if !accepted {
			c.finished = true // for a Close that is on its way
			c.release()
		}
	}()
	if err := c.askOpen(); err != nil {
		c.server.refused(c.link, err)
		return
	}
	accepted = true
	c.server.counters.opened.Add(1)
	c.home.add(c)
	if err := c.register(); err != nil {
		c.finish(err)
	}
}

func (c *Conn[T]) askOpen() (err error) {
	if c.server.handler.Open == nil {
		return nil
	}
	defer caught(&err)
	return c.server.handler.Open(c)
}

// tellClose calls the callback Close. A panic must not keep other connections from
// being closed.
func (c *Conn[T]) tellClose(cause error) (err error) {
	if c.server.handler.Close == nil {
		return nil
	}
	defer caught(&err)
	c.server.handler.Close(c, cause)
	return nil
}

// caught makes an error of a panic, like the loop does where it calls.
func caught(err *error) {
	if v := recover(); v != nil {
		*err = &reactor.PanicError{Value: v, Stack: debug.Stack()}
	}
}

// register gives the ring ends to the loop, and what tells of the peer's end. No
// callback runs before it returns, because it runs on the loop.
func (c *Conn[T]) register() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	loop := c.home.loop
	if c.rx != nil {
		if c.in, err = loop.Attach((*inbound[T])(c), reactor.Handler{Ready: c.readyIn, Closed: c.finish}); err != nil {
			return err
		}
		if c.paused {
			c.in.Pause()
		}
	}
	if c.tx != nil {
		if c.out, err = loop.Attach((*outbound[T])(c), reactor.Handler{Ready: c.readyOut, Closed: c.finishOut}); err != nil {
			return err
		}
	}
	look := reactor.Handler{Ready: c.checkPeer}
	if c.life, err = loop.Register(c.link.FD(), reactor.Readable|reactor.EdgeTriggered, look); err != nil {
		return err
	}
	if fd := c.link.PidFD(); fd >= 0 {
		c.death, err = loop.Register(fd, reactor.Readable|reactor.EdgeTriggered, look)
	}
	return err
}

func (c *Conn[T]) readyIn(reactor.Event) error {
	c.idle = false
	if err := c.server.handler.Ready(c); err != nil || c.tx == nil {
		return err
	}
	return c.armOut()
}

// armOut is for when Ready may have sent too much in a turn that is not one of the
// sending end, which the loop arms itself.
func (c *Conn[T]) armOut() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	more, err := c.tx.Arm()
	if more {
		err = c.out.Resume()
	}
	if c.gone {
		return nil // what the client sent before it ended counts
	}
	return err
}

func (c *Conn[T]) readyOut(reactor.Event) error {
	c.mu.Lock()
	// Forget that a send came up short: Ready is told of the room now, and if it
	// does not care it must not be called for ever.
	_, _ = c.tx.Send(nil)
	c.tellRoom()
	c.mu.Unlock()
	return c.server.handler.Ready(c)
}

// checkPeer is told that lifeline or pidfd has something to say.
func (c *Conn[T]) checkPeer(reactor.Event) error {
	over, err := c.link.Check()
	if !over || c.gone {
		return nil
	}
	c.gone = true
	if c.tx != nil {
		c.tx.HangUp(err)
	}
	c.end(err)
	return nil
}

// drain is Shutdown: as if the client had ended cleanly, but it can still be
// answered.
func (c *Conn[T]) drain() {
	if !c.ended {
		c.end(nil)
	}
}

// end makes the receiving end drain and then come to its end. err is nil for a
// clean one.
func (c *Conn[T]) end(err error) {
	first := !c.ended
	c.ended, c.endErr = true, err
	if c.rx == nil {
		c.finish(c.endError())
		return
	}
	c.rx.HangUp(err) // the first call counts
	if first && c.isPaused() {
		// There is no turn before Resume, and nothing that it would find.
		if more, err := (*inbound[T])(c).last(); !more {
			c.finish(err)
		}
	}
}

func (c *Conn[T]) isPaused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused
}

// endError is what a receiver says after the end.
func (c *Conn[T]) endError() error {
	if c.endErr == nil {
		return io.EOF
	}
	return fmt.Errorf("server: %w: %w", sharedring.ErrPeerGone, c.endErr)
}

// wake asks for a turn that no doorbell asked for. Needs c.mu.
func (c *Conn[T]) wake(r *reactor.Registration) {
	if r.Resume() == nil { // else it has ended
		c.server.counters.swept.Add(1)
	}
}

// finishOut is told that the loop let go of the sending end. If that is because the
// peer is gone, there may be something left to receive.
func (c *Conn[T]) finishOut(err error) {
	if err != errOutGone {
		c.finish(err)
	}
}

// finish is the end of a connection. The first call counts.
func (c *Conn[T]) finish(err error) {
	if c.finished {
		return
	}
	c.finished = true
	defer c.release()
	for _, r := range []*reactor.Registration{c.in, c.out, c.life, c.death} {
		if r != nil {
			_ = r.Close() // fails only for a descriptor closed too early
		}
	}
	c.home.remove(c)
	err = c.cause(err)
	c.record(err)
	if err := c.tellClose(err); err != nil {
		c.warn("ring client's Close failed", err)
	}
}

// cause is what the callback Close is told for an end with err.
func (c *Conn[T]) cause(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case c.ended && c.endErr == nil && errors.Is(err, sharedring.ErrPeerGone):
		return nil // an answer to a client that ended cleanly
	case errors.Is(err, reactor.ErrClosed):
		return fmt.Errorf("server: %w", ErrClosed)
	}
	return err
}

// record counts the end and logs it.
func (c *Conn[T]) record(err error) {
	n, bad := &c.server.counters, true
	switch {
	case err == nil:
		n.clean.Add(1)
		bad = false
	case errors.Is(err, ringbuf.ErrCorrupt):
		n.poisoned.Add(1)
	case errors.Is(err, ErrClosed):
		n.closed.Add(1)
		bad = false
	case errors.Is(err, sharedring.ErrPeerGone):
		n.crashed.Add(1)
	default:
		n.failed.Add(1)
	}
	if bad {
		c.warn("ring client ended", err)
	} else {
		c.server.cfg.Logger.Debug("ring client ended", c.details(err)...)
	}
}

func (c *Conn[T]) warn(what string, err error) {
	c.server.cfg.Logger.Warn(what, c.details(err)...)
}

func (c *Conn[T]) details(err error) []any {
	peer := c.Peer()
	return []any{"pid", peer.PID, "uid", peer.UID, "error", err}
}

// release closes all that the connection holds. The rings come before the lifeline,
// so that the client finds in them all that was sent when it sees the farewell.
func (c *Conn[T]) release() {
	_ = c.closeEnds() // an error could only be a descriptor that somebody else closed
	c.mu.Lock()
	c.tellRoom() // those who wait meet a closed ring
	c.mu.Unlock()
	_ = c.link.Close()
	c.home.load.Add(-1)
	c.server.conns.Done()
}
