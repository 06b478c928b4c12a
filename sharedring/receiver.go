package sharedring

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

// Receiver is the receiving end of a ring in this process. T is any type that
// [ringbuf.CheckType] allows; both sides must agree on its size and meaning.
//
// One goroutine at a time may use it. Close, HangUp, Handle, FD, Heard, Signal and
// Doorbells may be called from any goroutine at any time.
type Receiver[T any] struct {
	end
	rb      ringbuf.Receiver[T]  // by value, so that a call on it keeps the mapping alive
	piece   int                  // items that are given back at once, if they are fewer than run
	run     int                  // items that are written past the cache
	pending func() (bool, error) // Pending and Arm, made once: a method value allocates
	arm     func() (bool, error)
}

// NewReceiver makes a ring of at least capacity items and returns its receiving
// end. Hand [Receiver.Handle] to the sending side. The errors wrap
// [ringbuf.ErrItemType], [ringbuf.ErrRange] or the failed system call.
func NewReceiver[T any](capacity int, opts ...Option) (*Receiver[T], error) {
	peers, h, c, err := createFor[T](capacity, opts)
	if err != nil {
		return nil, err
	}
	r, err := openReceiver[T](h, c)
	if err != nil {
		return nil, errors.Join(err, c.dropPeers(peers))
	}
	r.handle = peers
	return r, nil
}

// OpenReceiver opens the receiving end of a ring that the other side, [Create] or
// [CreatePair] made; items may wait in it already. The descriptors in h belong to the Receiver
// from here on; if it fails they are closed. Everything about them is checked
// first: see package memfd for the memory and [ErrDoorbell] for the rest.
func OpenReceiver[T any](h Handle, opts ...Option) (*Receiver[T], error) {
	r, err := openReceiver[T](h, newConfig(opts))
	if err != nil {
		return nil, err
	}
	if err := r.dropFile(); err != nil {
		return nil, errors.Join(err, r.abandon())
	}
	return r, nil
}

func openReceiver[T any](h Handle, c config) (*Receiver[T], error) {
	r := new(Receiver[T])
	if err := r.init(h, sizeOf[T](), h.EmptySignal, h.FullSignal, c); err != nil {
		return nil, err
	}
	rb, err := ringbuf.NewReceiver[T](r.mapping.Bytes())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sharedring: open receiver: %w", err), r.abandon())
	}
	r.rb = *rb
	r.rb.SetHold(c.hold)
	r.piece = pieceOf(r.Len(), sizeOf[T]())
	r.run = max(r.piece, runBytes/sizeOf[T]())
	r.pending, r.arm = r.Pending, r.Arm
	return r, nil
}

// Len returns the number of items that the ring holds when full: at least the
// capacity asked for.
func (r *Receiver[T]) Len() int { return r.rb.Len() }

// Raw gives access to the ring without doorbells, for those who signal themselves:
// call [Receiver.Signal] whenever a call returns signal = true.
func (r *Receiver[T]) Raw() *ringbuf.Receiver[T] { return &r.rb }

// usable is nil while the ring can be received from.
func (r *Receiver[T]) usable(op string) error {
	if r.status.Load()&statusClosed == 0 {
		return nil
	}
	return r.wrap(op, ErrClosed)
}

// Available returns the number of items that can be received now.
func (r *Receiver[T]) Available() (int, error) {
	if err := r.usable("available"); err != nil {
		return 0, err
	}
	n, err := r.rb.Available()
	return n, r.wrap("available", err)
}

// Receive copies as many items into dst as there are, and returns how many. It
// never waits. 0 means that the ring is empty (or dst is); call Arm before waiting
// on FD. After [Receiver.HangUp], and once the ring is empty, it returns [io.EOF]
// or [ErrPeerGone].
func (r *Receiver[T]) Receive(dst []T) (int, error) {
	for {
		n, err := r.receive(dst)
		if n > 0 || err != nil || len(dst) == 0 {
			return n, err
		}
		if more, err := r.atEnd("receive"); !more {
			return 0, err
		}
	}
}

// runBytes is the length from which the runtime's copy writes past the cache. Data that
// does not fit there comes a third quicker that way.
const runBytes = 1 << 20

func (r *Receiver[T]) receive(dst []T) (int, error) {
	if r.status.Load()&statusClosed != 0 {
		return 0, r.wrap("receive", ErrClosed)
	}
	if len(dst) <= r.piece {
		return r.receivePiece(dst)
	}
	for n := 0; ; {
		want := min(len(dst)-n, r.piece)
		if len(dst)-n >= r.run {
			if have, _ := r.rb.Available(); have >= r.run { // an error comes again
				want = r.run
			}
		}
		got, err := r.receivePiece(dst[n : n+want])
		n += got
		if got < want || err != nil || n == len(dst) {
			return n, err
		}
	}
}

func (r *Receiver[T]) receivePiece(dst []T) (int, error) {
	n, signal, err := r.rb.Receive(dst)
	if signal || err != nil {
		err = r.notify(signal, "receive", err)
	}
	return n, err
}

// atEnd is for when nothing was found. After HangUp it tells whether there is
// something after all, and else how the ring ended. The peer's end is looked at
// first and the ring after it, so what the peer sent before it ended is not lost.
func (r *Receiver[T]) atEnd(op string) (more bool, err error) {
	if gone := r.goneError(op, io.EOF); gone != nil {
		more, err = r.rb.Pending()
		if !more && err == nil {
			return false, gone
		}
	}
	return more, r.wrap(op, err)
}

// ReceiveContext waits until there is an item, then copies as many into dst as
// there are and returns how many. The errors are ctx's, [ErrClosed], [io.EOF] or
// [ErrPeerGone] once the ring is empty, and [ringbuf.ErrCorrupt].
func (r *Receiver[T]) ReceiveContext(ctx context.Context, dst []T) (int, error) {
	if len(dst) == 0 {
		return 0, r.usable("receive")
	}
	for {
		n, err := r.Receive(dst)
		if n > 0 || err != nil {
			return n, err
		}
		if err := r.await(ctx, "receive", r.pending, r.arm); err != nil {
			return 0, err
		}
	}
}

// Peek returns the next items in place: those up to the end of the memory, so
// after Discard a second Peek may show more. An empty slice means that the ring is
// empty; call Arm before waiting on FD. The slice is valid until its items are
// discarded, or Close, and while the Receiver is reachable. The peer can still change
// its content: copy what must not change between two looks.
func (r *Receiver[T]) Peek() ([]T, error) {
	for {
		if err := r.usable("peek"); err != nil {
			return nil, err
		}
		view, err := r.rb.Peek()
		if len(view) > 0 || err != nil {
			return view, r.wrap("peek", err)
		}
		if more, err := r.atEnd("peek"); !more {
			return nil, err
		}
	}
}

// PeekContext is Peek, but waits until there is at least one item.
func (r *Receiver[T]) PeekContext(ctx context.Context) ([]T, error) {
	for {
		view, err := r.Peek()
		if len(view) > 0 || err != nil {
			return view, err
		}
		if err := r.await(ctx, "peek", r.pending, r.arm); err != nil {
			return nil, err
		}
	}
}

// Discard consumes the first n items of the last Peek. More than it returned is a
// [ringbuf.ErrRange], and nothing is consumed.
func (r *Receiver[T]) Discard(n int) error {
	if err := r.usable("discard"); err != nil {
		return err
	}
	signal, err := r.rb.Discard(n)
	return r.notify(signal, "discard", err)
}

// ReceiveEach calls f with a copy of each of up to n items that are there, and
// returns how many. If f panics, the items given to it count as received.
func (r *Receiver[T]) ReceiveEach(n int, f func(T)) (int, error) {
	if err := r.usable("receive"); err != nil {
		return 0, err
	}
	defer r.ringOwed()
	got, signal, err := r.rb.ReceiveEach(n, f)
	err = r.notify(signal, "receive", err)
	if got > 0 || err != nil || n <= 0 {
		return got, err
	}
	_, err = r.atEnd("receive") // more is for the next call
	return 0, err
}

// ringOwed rings the doorbell that a panicking callback left due.
func (r *Receiver[T]) ringOwed() {
	if r.rb.Owed() {
		_ = r.Signal() // the panic is what the caller sees
	}
}

// Pending tells whether there is something to receive, or an end to be told of. It
// makes no system call and releases nothing, so it is the call to poll with.
func (r *Receiver[T]) Pending() (bool, error) {
	if r.status.Load() != 0 {
		return true, r.usable("pending")
	}
	ok, err := r.rb.Pending()
	if err != nil {
		err = r.wrap("pending", err)
	}
	return ok, err
}

// Arm is called before sleeping on FD: it releases all that was received and looks
// again. pending = true means there is more, or an end to be told of; false means
// that FD will see an edge when there is.
//
// With socket doorbells Arm also takes the bells off the socket and finds out whether
// the peer has ended. It reports pending too if there are more bells than it takes in
// one call, as from a peer that rings without end. Call it now and then also if you
// never wait: a peer in the Rust crate blocks once some hundred bells were not taken.
func (r *Receiver[T]) Arm() (pending bool, err error) {
	if err := r.usable("arm"); err != nil {
		return false, err
	}
	bells := r.waits.kind == socketDoorbell && r.listen()
	more, signal, err := r.rb.Arm()
	return more || bells || r.over(), r.notify(signal, "arm", err)
}
