package harness

import "time"

// A Counter counts, within a Window, the messages of one goroutine.
type Counter struct {
	window *Window
	phase  uint32 // that it has noticed
	count
	marks [phases]count // when it noticed a phase
	_     [64]byte      // from the counter of another goroutine
}

type count struct{ messages, bytes uint64 }

// Add is that of Window.
func (c *Counter) Add(messages, bytes int) bool {
	if c.window.phase.Load() != c.phase {
		c.notice()
	}
	c.messages += uint64(messages)
	c.bytes += uint64(bytes)
	return c.phase != over
}

func (c *Counter) notice() {
	phase := c.window.phase.Load()
	c.turn(phase)
	c.window.reach(phase)
}

// turn notes the count at the beginning of a phase. One that began and ended
// between two calls of Add has counted nothing.
func (c *Counter) turn(phase uint32) {
	for c.phase < phase {
		c.phase++
		c.marks[c.phase] = c.count
	}
}

// Record takes a latency, if the window measures. The goroutine is that of Add.
func (c *Counter) Record(d time.Duration) {
	if c.phase != measuring {
		return
	}
	c.window.mu.Lock()
	record(c.window.latency, d)
	c.window.mu.Unlock()
}
