package server

import (
	"bytes"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/shmloop/shmloop/reactor"
)

// home is a loop and the connections on it.
type home[T any] struct {
	loop      *reactor.Loop
	load      atomic.Int64  // connections placed here
	goroutine atomic.Uint64 // number of the one that runs the loop
	period    time.Duration // of the sweep

	// Of the loop's goroutine.
	conns    []*Conn[T]
	timer    *reactor.Timer // nil before the first connection
	sweeping bool           // the timer is set
}

func newHome[T any](l *reactor.Loop, sweep time.Duration) (*home[T], error) {
	h := &home[T]{loop: l, period: sweep}
	return h, l.Post(func() { h.goroutine.Store(goroutineID()) })
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

// isCaller says whether the calling goroutine runs the loop. It takes some
// microseconds.
func (h *home[T]) isCaller() bool { return h.goroutine.Load() == goroutineID() }

// goroutineID reads the number that the runtime shows in a stack trace
// ("goroutine 7 [running]:"); 0 if there is none.
func goroutineID() uint64 {
	var buf [64]byte
	head := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	number, _, _ := bytes.Cut(head, []byte(" "))
	id, _ := strconv.ParseUint(string(number), 10, 64)
	return id
}
