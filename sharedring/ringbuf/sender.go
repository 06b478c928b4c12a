package ringbuf

import "fmt"

// Sender is the producing end of a ring. It is made by [NewSender].
type Sender[T any] struct {
	ring[T]
	index    int // slot of the next item
	known    int // the count is at most this: behind our back it only falls
	reserved int // items of the last Reserve not yet committed
	keep     int // slots kept free now: spare, or 0 once armed
	spare    int
	owed     bool // a signal that a panic kept from being returned
	_        [24]byte
}

// NewSender attaches a sender to mem, which must be fresh: zeroed up to
// [HeaderSize] and never sent to. The errors wrap [ErrItemType], [ErrTooSmall],
// [ErrRange] (misaligned memory) or [ErrCorrupt] (used before). mem must stay
// mapped while the Sender is in use.
func NewSender[T any](mem []byte) (*Sender[T], error) {
	r, err := attach[T](mem)
	if err != nil {
		return nil, err
	}
	// Both indices start at 0, so nothing can have been sent yet.
	if _, err := r.load(0, 0); err != nil {
		return nil, err
	}
	s := &Sender[T]{ring: r}
	s.SetSpare(true)
	return s, nil
}

// SetSpare tells the sender whether to keep one slot free while it is awake, so
// that the receiver never finds the ring full and never signals. It is on by
// default and has no effect on a ring of less than three items. Arm gives the slot
// up.
func (s *Sender[T]) SetSpare(on bool) {
	s.spare = 0
	if on && s.length > 2 {
		s.spare = 1
	}
	s.keep = s.spare
}

// look refreshes known.
func (s *Sender[T]) look() error {
	c, err := s.load(0, s.known)
	if err != nil {
		return err
	}
	s.known = c
	if s.length-c > 1 {
		s.keep = s.spare
	}
	return nil
}

// room returns the free slots that this side knows of, without a look.
func (s *Sender[T]) room() int { return max(s.length-s.known-s.keep, 0) }

// roomFor is room, after a look if that is less than n.
func (s *Sender[T]) roomFor(n int) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if free := s.room(); free >= n {
		return free, nil
	}
	if err := s.look(); err != nil {
		return 0, err
	}
	return s.room(), nil
}

// Free returns the items that can be sent now. A slot that is kept spare does not
// count.
func (s *Sender[T]) Free() (int, error) {
	return s.roomFor(s.length + 1)
}

// Reserve returns the next free slots in place, n at the most: fewer at the end
// of the memory or when the ring is nearly full, none when it is full. Their
// content is what was there before. The slice is valid until the next Reserve or
// Send, and only items given to Commit are sent. A negative n is an [ErrRange].
func (s *Sender[T]) Reserve(n int) ([]T, error) {
	if n < 0 {
		return nil, fmt.Errorf("ringbuf: reserve %d items: %w", n, ErrRange)
	}
	free, err := s.roomFor(n)
	if err != nil {
		return nil, err
	}
	n = min(n, free, s.length-s.index)
	s.reserved = n
	return s.items[s.index : s.index+n : s.index+n], nil
}

// Commit sends the first n items of the last Reserve; the rest stays reserved.
// More than that is an [ErrRange] and sends nothing. signal tells that the
// receiver's doorbell must be rung.
func (s *Sender[T]) Commit(n int) (signal bool, err error) {
	if s.err != nil {
		return false, s.err
	}
	if n < 0 || n > s.reserved {
		return false, fmt.Errorf("ringbuf: commit %d of %d reserved items: %w", n, s.reserved, ErrRange)
	}
	if n == 0 {
		return s.Owed(), nil
	}
	s.reserved -= n
	return s.publish(n)
}

// publish makes n written items visible with the one shared write of a batch.
func (s *Sender[T]) publish(n int) (signal bool, err error) {
	before, err := s.check(s.count.Add(uint64(n))-uint64(n), 0, s.known)
	if err != nil {
		return false, err
	}
	s.known = before + n
	s.index += n
	if s.index >= s.length {
		s.index -= s.length
	}
	return s.Owed() || before == 0, nil
}

// Send copies as many items of src as there is room for and returns how many.
// signal tells that the receiver's doorbell must be rung.
func (s *Sender[T]) Send(src []T) (n int, signal bool, err error) {
	free, err := s.roomFor(len(src))
	if err != nil {
		return 0, false, err
	}
	s.reserved = 0
	n = min(len(src), free)
	if n == 0 {
		return 0, s.Owed(), nil
	}
	first := copy(s.items[s.index:], src[:n])
	copy(s.items, src[first:n])
	signal, err = s.publish(n)
	if err != nil {
		return 0, false, err
	}
	return n, signal, nil
}

// SendEach sends up to n items that f makes, one call an item, and returns how
// many. It stops early when the ring is full; f is called only for items that
// have a slot. When f panics, the items that it made before are sent and the
// signal, if one is due, is returned by the next call.
func (s *Sender[T]) SendEach(n int, f func() T) (sent int, signal bool, err error) {
	for sent < n {
		span, err := s.Reserve(n - sent)
		if err != nil || len(span) == 0 {
			return sent, signal, err
		}
		sig, err := s.fill(span, f)
		if err != nil {
			return sent, signal, err
		}
		sent += len(span)
		signal = signal || sig
	}
	return sent, s.Owed() || signal, nil
}

func (s *Sender[T]) fill(span []T, f func() T) (signal bool, err error) {
	done := 0
	defer func() {
		signal, err = s.Commit(done)
		s.owed = signal && done < len(span)
	}()
	for i := range span {
		span[i] = f()
		done++
	}
	return
}

// Arm is called before waiting for room, when not all could be sent: it gives up
// the spare slot and looks again. pending = true means there is room: send more.
// false means the ring is full and the receiver's next release will signal.
func (s *Sender[T]) Arm() (pending bool, err error) {
	if s.err != nil {
		return false, s.err
	}
	s.keep = 0
	if err := s.look(); err != nil {
		return false, err
	}
	return s.room() > 0, nil
}

// Owed returns and clears a signal that is due because a callback panicked and no
// call could return it. Every call that returns a signal includes it.
func (s *Sender[T]) Owed() bool {
	owed := s.owed
	s.owed = false
	return owed
}
