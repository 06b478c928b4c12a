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
	s := &Sender[T]{ring: r}
	// Both indices start at 0, so nothing can have been sent yet.
	if c := r.count.Load(); c != 0 {
		return nil, s.poison(c, 0, 0)
	}
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

// look refreshes known. Every count is loaded once, checked, and then used from
// known alone.
func (s *Sender[T]) look() error {
	if s.err != nil {
		return s.err
	}
	c := s.count.Load()
	if c > uint64(s.known) {
		return s.fail(c)
	}
	s.known = int(c)
	if s.length-s.known > 1 {
		s.keep = s.spare
	}
	return nil
}

// fail poisons the ring and leaves no room, so that every later call comes to look
// and there to the error.
func (s *Sender[T]) fail(c uint64) error {
	err := s.poison(c, 0, s.known)
	s.known, s.keep, s.reserved = s.length, 0, 0
	return err
}

// room returns the free slots that this side knows of, without a look. It can be
// -1, with the spare slot filled.
func (s *Sender[T]) room() int { return s.length - s.known - s.keep }

// roomFor is room, after a look if that is less than n.
func (s *Sender[T]) roomFor(n int) (int, error) {
	if free := s.room(); free >= n && free > 0 {
		return free, nil
	}
	err := s.look()
	return max(s.room(), 0), err
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
	if uint(n) > uint(s.reserved) {
		if s.err != nil {
			return false, s.err
		}
		return false, fmt.Errorf("ringbuf: commit %d of %d reserved items: %w", n, s.reserved, ErrRange)
	}
	if n == 0 {
		return false, s.err
	}
	s.reserved -= n
	return s.publish(n)
}

// publish makes n written items visible with the one shared write of a batch.
func (s *Sender[T]) publish(n int) (signal bool, err error) {
	before := s.count.Add(uint64(n)) - uint64(n)
	if before > uint64(s.known) {
		return false, s.fail(before)
	}
	s.known = int(before) + n
	if s.index += n; s.index >= s.length {
		s.index -= s.length
	}
	return before == 0, nil
}

// Send copies as many items of src as there is room for and returns how many.
// signal tells that the receiver's doorbell must be rung.
func (s *Sender[T]) Send(src []T) (n int, signal bool, err error) {
	n = len(src)
	if free := s.room(); free < n || n == 0 {
		if free, err = s.roomFor(n); free < n {
			n = free
		}
		if n == 0 || err != nil {
			return 0, false, err
		}
	}
	s.reserved = 0
	if first := copy(s.items[s.index:], src[:n]); first < n {
		copy(s.items, src[first:n])
	}
	if signal, err = s.publish(n); err != nil {
		return 0, false, err
	}
	return n, signal, nil
}

// SendEach sends up to n items that f makes, one call an item, and returns how
// many. It stops early when the ring is full; f is called only for items that
// have a slot. When f panics, the items that it made before are sent, and
// [Sender.Owed] tells whether a signal is due.
func (s *Sender[T]) SendEach(n int, f func() T) (sent int, signal bool, err error) {
	for sent < n {
		span, err := s.Reserve(n - sent)
		if err != nil || len(span) == 0 {
			return sent, s.Owed(), err
		}
		if err := s.fill(span, f); err != nil {
			return sent, s.Owed(), err
		}
		sent += len(span)
	}
	return sent, s.Owed(), nil
}

// fill sends what f made, also when f panics.
func (s *Sender[T]) fill(span []T, f func() T) (err error) {
	done := 0
	defer func() {
		var signal bool
		signal, err = s.Commit(done)
		s.owed = s.owed || signal
	}()
	for i := range span {
		span[i] = f()
		done++
	}
	return nil
}

// Arm is called before waiting for room, when not all could be sent: it gives up
// the spare slot and looks again. pending = true means there is room: send more.
// false means the ring is full and the receiver's next release will signal.
func (s *Sender[T]) Arm() (pending bool, err error) {
	s.keep = 0
	err = s.look()
	return s.room() > 0, err
}

// Owed returns and clears a signal that is due because f panicked, so that SendEach
// could not return it.
func (s *Sender[T]) Owed() bool {
	owed := s.owed
	s.owed = false
	return owed
}
