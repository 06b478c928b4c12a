package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/shmloop/shmloop/sharedring/handoff"
	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

// Outbound is what Send does with items that the ring has no room for.
type Outbound uint8

const (
	// Refuse returns ErrFull, and the caller still has the items. Ready is called
	// when there is room again.
	Refuse Outbound = iota
	// DropNewest forgets them, and counts them in Stats and Dropped.
	DropNewest
	// Block waits for room, on any goroutine but the loop's.
	Block
)

func (o Outbound) String() string {
	switch o {
	case Refuse:
		return "refuse"
	case DropNewest:
		return "drop newest"
	case Block:
		return "block"
	}
	return fmt.Sprintf("outbound policy %d", uint8(o))
}

// SetOutbound chooses the policy of Send. The default is Refuse.
func (c *Conn[T]) SetOutbound(o Outbound) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outbound = o
}

// Dropped returns how many items Send dropped.
func (c *Conn[T]) Dropped() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// Send sends items to the client, in order and from any goroutine, and returns how
// many are in the ring. If that is not all of src, either the policy is DropNewest
// or there is an error: ErrFull (policy Refuse), ErrOnLoop or ctx's (policy Block),
// sharedring.ErrPeerGone, sharedring.ErrClosed, ringbuf.ErrCorrupt, or
// handoff.ErrNoRing if the client does not receive. ctx is for Block alone. With
// Block, several callers take turns, so that the items of one call stay together.
func (c *Conn[T]) Send(ctx context.Context, src []T) (n int, err error) {
	if c.tx == nil {
		return 0, fmt.Errorf("server: send to a client that only sends: %w", handoff.ErrNoRing)
	}
	defer func() {
		c.Count(n)
		if errors.Is(err, ringbuf.ErrCorrupt) {
			_ = c.endLater(err) // whether or not the caller returns it
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.outbound {
	case Block:
		return c.sendAll(ctx, src)
	case DropNewest:
		n, err = c.send(src)
		if lost := len(src) - n; lost > 0 && err == nil {
			c.dropped += uint64(lost)
			c.server.counters.dropped.Add(uint64(lost))
		}
		return n, err
	default:
		n, err = c.send(src)
		if err == nil && n < len(src) {
			err = fmt.Errorf("server: send %d of %d items: %w", n, len(src), ErrFull)
		}
		return n, err
	}
}

// send is Sender.Send until that is armed: an edge follows when there is room.
// Needs c.mu.
func (c *Conn[T]) send(src []T) (int, error) {
	n, err := c.tx.Send(src)
	for more := true; more && err == nil && n < len(src); {
		if more, err = c.tx.Arm(); more && err == nil {
			var sent int
			sent, err = c.tx.Send(src[n:])
			n += sent
		}
	}
	return n, err
}

// sendAll needs c.mu, and gives it away while it waits.
func (c *Conn[T]) sendAll(ctx context.Context, src []T) (n int, err error) {
	for c.blocked {
		if err := c.await(ctx); err != nil {
			return 0, err
		}
	}
	c.blocked = true
	defer func() {
		c.blocked = false
		c.tellRoom() // to those who wait for their turn
	}()
	for {
		sent, err := c.send(src[n:])
		n += sent
		if err != nil || n == len(src) {
			return n, err
		}
		if err := c.await(ctx); err != nil {
			return n, err
		}
	}
}

// await waits for tellRoom. Needs c.mu, and gives it away meanwhile.
func (c *Conn[T]) await(ctx context.Context) error {
	if c.room == nil {
		c.room = make(chan struct{})
	}
	room := c.room
	c.mu.Unlock()
	defer c.mu.Lock()
	if c.home.loop.OnLoop() {
		return fmt.Errorf("server: send: %w", ErrOnLoop)
	}
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("server: send: %w", ctx.Err())
	}
}

// tellRoom wakes all who wait in Send. Needs c.mu.
func (c *Conn[T]) tellRoom() {
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
}
