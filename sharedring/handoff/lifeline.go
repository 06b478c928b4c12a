package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/shmloop/shmloop/sharedring"
)

// Check says, without blocking, whether the peer has ended and how. Call it when
// FD or PidFD is readable. err is nil for a clean end (the peer said farewell),
// matches sharedring.ErrPeerGone for a crash and ErrProtocol for a peer that sent
// something else. Once ended, every later call returns the same. It is what HangUp
// of the ring ends wants to know.
func (c *Conn) Check() (ended bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.check()
}

func (c *Conn) check() (bool, error) {
	if c.ended {
		return true, c.endErr
	}
	if c.fd < 0 {
		return true, fmt.Errorf("handoff: check the lifeline: %w", sharedring.ErrClosed)
	}
	// The pidfd first: a farewell was sent before the peer died, so what the
	// lifeline says after the death was seen is the last word.
	dead := c.pidfd >= 0 && readable(c.pidfd)
	b, err := receiveByte(c.fd)
	switch {
	case err == nil && b == farewell:
		c.ended = true
	case err == nil:
		c.end(fmt.Errorf("byte %#x on the lifeline: %w", b, ErrProtocol))
	case errors.Is(err, syscall.EAGAIN) && dead:
		c.end(fmt.Errorf("died, and another process holds the lifeline: %w", sharedring.ErrPeerGone))
	case errors.Is(err, syscall.EAGAIN):
		return false, nil
	case errors.Is(err, ErrProtocol):
		c.end(err)
	case errors.Is(err, io.EOF):
		c.end(fmt.Errorf("ended without a farewell: %w", sharedring.ErrPeerGone))
	default:
		c.end(fmt.Errorf("ended without a farewell: %w: %w", err, sharedring.ErrPeerGone))
	}
	return c.ended, c.endErr
}

func (c *Conn) end(err error) {
	c.ended = true
	c.endErr = fmt.Errorf("handoff: peer (pid %d, uid %d): %w", c.peer.PID, c.peer.UID, err)
}

// Wait blocks until the peer has ended and returns how: nil for a clean end, else
// as Check. It also returns when ctx is done, with an error that matches ctx.Err(),
// and when the Conn is closed. It waits in the runtime's poller, on the calling
// goroutine alone, and is meant for
//
//	go func() { rx.HangUp(conn.Wait(ctx)) }()
//
// With several goroutines in Wait each gets the answer.
func (c *Conn) Wait(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return fmt.Errorf("handoff: wait for the peer's end: %w", ctx.Err())
	}
	w := c.watch()
	defer interrupt(ctx, w.SetReadDeadline)()
	for {
		if ended, err := c.Check(); ended {
			return err
		}
		if err := awaitReadable(w); err != nil {
			return c.waitError(ctx, err)
		}
	}
}

// waitError makes sense of a wait that failed.
func (c *Conn) waitError(ctx context.Context, err error) error {
	if ended, endErr := c.Check(); ended {
		return endErr // also if this side closed the Conn
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("handoff: wait for the peer's end: %w", err)
}

// watch returns what becomes readable when the peer ends: an epoll over lifeline
// and pidfd, so that one goroutine can wait for both, or the lifeline alone where
// there is no pidfd or no descriptor left for the epoll.
func (c *Conn) watch() pollable {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watched == nil && c.pidfd >= 0 {
		if f, err := newEpoll(c.fd, c.pidfd); err == nil {
			c.watched = f
		}
	}
	if c.watched == nil {
		return c.sock // also when closed: the wait fails, and Check says why
	}
	return c.watched
}
