package server

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/shmloop/shmloop/reactor"
)

// home is a loop and the connections on it.
type home[T any] struct {
	loop   *reactor.Loop
	load   atomic.Int64  // connections placed here
	period time.Duration // of the sweep

	// Of the loop's goroutine.
	conns    []*Conn[T]
	timer    *reactor.Timer // nil before the first connection
	sweeping bool           // the timer is set
}

// add begins to look after c.
func (h *home[T]) add(c *Conn[T]) {
	c.index = len(h.conns)
	h.conns = append(h.conns, c)
	h.startSweep()
}

// remove fills the gap with the last connection.
func (h *home[T]) remove(c *Conn[T]) {
	last := len(h.conns) - 1
	moved := h.conns[last]
	h.conns[c.index], moved.index = moved, c.index
	h.conns[last] = nil
	h.conns = h.conns[:last]
}

// drain is Shutdown on this loop.
func (h *home[T]) drain() {
	for _, c := range slices.Clone(h.conns) { // some end at once
		c.drain()
	}
}
