package server

// sweepBatch is how many connections are looked at before others get a turn. A look
// is a cache miss, about 0.1 us.
const sweepBatch = 1024

// startSweep sets the timer, if there is to be a sweep and none is due. Without
// descriptors for a timer there is none until the next connection asks again.
func (h *home[T]) startSweep() {
	if h.period < 0 || h.sweeping {
		return
	}
	var err error
	if h.timer == nil {
		h.timer, err = h.loop.AfterFunc(h.period, func() { h.sweep(0) })
	} else {
		err = h.timer.Reset(h.period)
	}
	h.sweeping = err == nil
}

// sweep looks at the connections from number first on. One that changes places
// meanwhile may be left out; the next sweep finds it.
func (h *home[T]) sweep(first int) {
	end := min(first+sweepBatch, len(h.conns))
	for i := first; i < end; i++ {
		h.conns[i].sweep()
	}
	if end < len(h.conns) {
		_ = h.loop.Post(func() { h.sweep(end) })
		return
	}
	h.sweeping = false
	if len(h.conns) > 0 {
		h.startSweep()
	}
}

// sweep gives c a turn if there is work that its doorbell did not tell.
func (c *Conn[T]) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle && !c.paused && due(c.rx.Pending()) {
		c.idle = false
		c.wake(c.in)
	}
	if c.tx != nil && due(c.tx.Pending()) {
		c.wake(c.out)
	}
}

// due says whether a turn has to be given: an error is told in one.
func due(pending bool, err error) bool { return pending || err != nil }
