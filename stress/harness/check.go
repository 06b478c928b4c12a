package harness

// maxMissing bounds the memory that one stream's gaps can cost. A number past
// it that comes late counts as duplicated, and stays counted as lost.
const maxMissing = 1 << 16

// A Check follows the sequence numbers of one stream, which count from 0. The
// zero Check is ready. It belongs to one goroutine.
type Check struct {
	next    uint64
	missing map[uint64]struct{} // skipped, may still come

	Lost       uint64 // never came, so far
	Duplicated uint64 // came again
	Reordered  uint64 // came, after a later one
}

// See takes the number of the next message.
func (c *Check) See(seq uint64) {
	if seq != c.next {
		c.surprise(seq)
		return
	}
	c.next++
}

// Sent says that the other end sent n messages in all: those that did not come
// are lost. Without it the last ones are not missed.
func (c *Check) Sent(n uint64) {
	if n > c.next {
		c.skip(n)
	}
}

func (c *Check) surprise(seq uint64) {
	if seq > c.next {
		c.skip(seq)
		c.next++
		return
	}
	if _, ok := c.missing[seq]; !ok {
		c.Duplicated++
		return
	}
	delete(c.missing, seq)
	c.Lost--
	c.Reordered++
}

func (c *Check) skip(to uint64) {
	if c.missing == nil {
		c.missing = map[uint64]struct{}{}
	}
	c.Lost += to - c.next
	for n := c.next; n < to && len(c.missing) < maxMissing; n++ {
		c.missing[n] = struct{}{}
	}
	c.next = to
}
