package ringbuf

import "fmt"

// Receiver is the consuming end of a ring. It is made by [NewReceiver].
type Receiver[T any] struct {
	ring[T]
	index int // slot of the next item
	known int // the count is at least this: behind our back it only rises
	held  int // items consumed but not released, part of known
	given int // items of the last Peek not yet discarded
	hold  int // items to keep unreleased while awake
	batch int // items above hold that make a release worth its shared write
	owed  bool
	_     [16]byte
}

// NewReceiver attaches a receiver to mem, which must never have been received
// from: items may wait in it already. The errors wrap [ErrItemType],
// [ErrTooSmall], [ErrRange] (misaligned memory) or [ErrCorrupt]. mem must stay
// mapped while the Receiver is in use.
func NewReceiver[T any](mem []byte) (*Receiver[T], error) {
	r, err := attach[T](mem)
	if err != nil {
		return nil, err
	}
	rx := &Receiver[T]{ring: r}
	rx.SetHold(1)
	if c := r.count.Load(); c > uint64(r.length) {
		return nil, rx.fail(c)
	}
	return rx, nil
}

// SetHold tells the receiver how many consumed items to leave unreleased while it
// is awake, so that the sender never finds the ring empty and never signals; the
// default is 1. Releases above that are made in batches of a quarter of the ring.
// 0 turns both off: every consumption is released at once. What is held is limited
// so that one slot is left for an item, and one for the sender's spare slot in a
// ring of three or more: two sides that are both awake never wait for each other.
func (r *Receiver[T]) SetHold(items int) {
	limit := r.length
	if r.length > 2 {
		limit--
	}
	r.hold = min(max(items, 0), limit-1)
	r.batch = 1
	if r.hold > 0 {
		r.batch = max(1, min(r.length/4, limit-r.hold))
	}
}

// look refreshes known. Every count is loaded once, checked, and then used from
// known alone.
func (r *Receiver[T]) look() error {
	if r.err != nil {
		return r.err
	}
	c := r.count.Load()
	if c < uint64(r.known) || c > uint64(r.length) {
		return r.fail(c)
	}
	r.known = int(c)
	return nil
}

// fail poisons the ring and leaves nothing known, so that every later call comes to
// look and there to the error.
func (r *Receiver[T]) fail(c uint64) error {
	err := r.poison(c, r.known, r.length)
	r.known, r.held, r.given = 0, 0, 0
	return err
}

// ready returns the items that can be read, after a look if this side knows of
// fewer than n.
func (r *Receiver[T]) ready(n int) (int, error) {
	if have := r.known - r.held; have >= n && have > 0 {
		return have, nil
	}
	err := r.look()
	return r.known - r.held, err
}

// Available returns the items that can be received now.
func (r *Receiver[T]) Available() (int, error) {
	return r.ready(r.length + 1)
}

// Pending tells whether an item can be received now. It looks at the shared count
// only when all known items were consumed, and releases nothing.
func (r *Receiver[T]) Pending() (bool, error) {
	if r.known > r.held {
		return true, nil
	}
	if r.err == nil && r.count.Load() == uint64(r.known) {
		return false, nil
	}
	err := r.look()
	return r.known > r.held, err
}

// Peek returns the next items in place: those up to the end of the memory, so a
// second Peek after Discard may show more. An empty slice means an empty ring.
// The slice is valid until they are discarded; the other side can change its
// content meanwhile, so copy what must not change between two looks.
func (r *Receiver[T]) Peek() ([]T, error) {
	have, err := r.ready(1)
	if err != nil {
		return nil, err
	}
	n := min(have, r.length-r.index)
	r.given = n
	return r.items[r.index : r.index+n : r.index+n], nil
}

// Discard consumes the first n items of the last Peek; the rest stays valid. More
// than that is an [ErrRange] and consumes nothing. signal tells that the sender's
// doorbell must be rung.
func (r *Receiver[T]) Discard(n int) (signal bool, err error) {
	if uint(n) > uint(r.given) {
		if r.err != nil {
			return false, r.err
		}
		return false, fmt.Errorf("ringbuf: discard %d of %d peeked items: %w", n, r.given, ErrRange)
	}
	r.given -= n
	return r.consume(n)
}

// consume moves past n items and releases when enough have been gathered.
func (r *Receiver[T]) consume(n int) (signal bool, err error) {
	if r.index += n; r.index >= r.length {
		r.index -= r.length
	}
	if r.held += n; r.held < r.hold+r.batch {
		return false, r.err
	}
	return r.release(r.held - r.hold)
}

// release gives n consumed slots back with the one shared write of a batch.
func (r *Receiver[T]) release(n int) (signal bool, err error) {
	before := r.count.Add(-uint64(n)) + uint64(n)
	if before < uint64(r.known) || before > uint64(r.length) {
		return false, r.fail(before)
	}
	r.known = int(before) - n
	r.held -= n
	return int(before) == r.length, nil
}

// Receive copies as many items into dst as there are and returns how many; 0 is
// an empty ring (or dst). signal tells that the sender's doorbell must be rung.
func (r *Receiver[T]) Receive(dst []T) (n int, signal bool, err error) {
	n = len(dst)
	if have := r.known - r.held; have < n || n == 0 {
		if have, err = r.ready(n); have < n {
			n = have
		}
		if n == 0 || err != nil {
			return 0, false, err
		}
	}
	r.given = 0
	if first := copy(dst[:n], r.items[r.index:]); first < n {
		copy(dst[first:n], r.items)
	}
	if signal, err = r.consume(n); err != nil {
		return 0, false, err
	}
	return n, signal, nil
}

// ReceiveEach calls f with a copy of each of up to n items and returns how many
// were consumed. When f panics, the items given to it are consumed, that one
// included, and [Receiver.Owed] tells whether a signal is due.
func (r *Receiver[T]) ReceiveEach(n int, f func(T)) (received int, signal bool, err error) {
	for received < n {
		view, err := r.Peek()
		if err != nil || len(view) == 0 {
			return received, r.Owed(), err
		}
		view = view[:min(len(view), n-received)]
		if err := r.drain(view, f); err != nil {
			return received, r.Owed(), err
		}
		received += len(view)
	}
	return received, r.Owed(), nil
}

// drain consumes what f was given, also when f panics.
func (r *Receiver[T]) drain(view []T, f func(T)) (err error) {
	done := 0
	defer func() {
		var signal bool
		signal, err = r.Discard(done)
		r.owed = r.owed || signal
	}()
	for i := range view {
		item := view[i]
		done++
		f(item)
	}
	return nil
}

// Release gives every consumed item back. A receiver that pauses with items left
// to read calls it; Arm does it by itself.
func (r *Receiver[T]) Release() (signal bool, err error) {
	if r.held == 0 {
		return false, r.err
	}
	return r.release(r.held)
}

// Arm is called before sleeping: it releases all and looks again. pending = true
// means there are items: receive them. false means the ring is empty and the
// sender's next send will signal. signal is due in either case.
func (r *Receiver[T]) Arm() (pending, signal bool, err error) {
	if r.held > 0 {
		// The value that this subtraction meets decides, not one loaded before: a send
		// in between would be lost.
		signal, err = r.release(r.held)
	} else if r.known == 0 {
		err = r.look()
	}
	return r.known > 0, signal, err
}

// Owed returns and clears a signal that is due because f panicked, so that
// ReceiveEach could not return it.
func (r *Receiver[T]) Owed() bool {
	owed := r.owed
	r.owed = false
	return owed
}
