package sharedring

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

// Sender is the sending end of a ring in this process. T is any type that
// [ringbuf.CheckType] allows; both sides must agree on its size and meaning.
//
// One goroutine at a time may use it. Close, HangUp, Handle, FD, Heard, Signal and
// Doorbells may be called from any goroutine at any time.
type Sender[T any] struct {
	end
	rb      ringbuf.Sender[T]    // by value, so that a call on it keeps the mapping alive
	short   bool                 // the last call could not place all
	piece   int                  // items that are handed over at once
	pending func() (bool, error) // Pending and Arm, made once: a method value allocates
	arm     func() (bool, error)
}

// NewSender makes a ring of at least capacity items and returns its sending end.
// Hand [Sender.Handle] to the receiving side. The errors wrap
// [ringbuf.ErrItemType], [ringbuf.ErrRange] or the failed system call.
func NewSender[T any](capacity int, opts ...Option) (*Sender[T], error) {
	h, peers, c, err := createFor[T](capacity, opts)
	if err != nil {
		return nil, err
	}
	s, err := openSender[T](h, c)
	if err != nil {
		return nil, errors.Join(err, c.dropPeers(peers))
	}
	s.handle = peers
	return s, nil
}

// OpenSender opens the sending end of a ring that the other side, [Create] or
// [CreatePair] made. The descriptors in h belong to the Sender from here on; if it fails they
// are closed. Everything about them is checked first: see package memfd for the
// memory and [ErrDoorbell] for the rest.
func OpenSender[T any](h Handle, opts ...Option) (*Sender[T], error) {
	s, err := openSender[T](h, newConfig(opts))
	if err != nil {
		return nil, err
	}
	if err := s.dropFile(); err != nil {
		return nil, errors.Join(err, s.abandon())
	}
	return s, nil
}

func openSender[T any](h Handle, c config) (*Sender[T], error) {
	s := new(Sender[T])
	if err := s.init(h, sizeOf[T](), h.FullSignal, h.EmptySignal, c); err != nil {
		return nil, err
	}
	rb, err := ringbuf.NewSender[T](s.mapping.Bytes())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sharedring: open sender: %w", err), s.abandon())
	}
	s.rb = *rb
	s.rb.SetSpare(c.hold > 0)
	s.piece = pieceOf(s.Len(), sizeOf[T]())
	s.pending, s.arm = s.Pending, s.Arm
	return s, nil
}

// createFor makes a ring for items of type T.
func createFor[T any](capacity int, opts []Option) (sender, receiver Handle, c config, err error) {
	c = newConfig(opts)
	if err := ringbuf.CheckType[T](); err != nil {
		return Handle{}, Handle{}, c, fmt.Errorf("sharedring: %w", err)
	}
	sender, receiver, err = create(capacity, sizeOf[T](), c)
	return sender, receiver, c, err
}

// dropPeers closes the peer's ends where there is to be no end here. Eventfds are
// closed already: they are those of this side.
func (c config) dropPeers(h Handle) error {
	if !c.sockets {
		return nil
	}
	h.Memory = -1
	return h.Close()
}

func sizeOf[T any]() int {
	var zero T
	return int(unsafe.Sizeof(zero))
}

// pieceOf is how many items to copy before they are handed over. The smaller the
// pieces the more the two sides overlap, and the less data is on its way between their
// caches; a hand-over costs about as much as to copy 1 KiB.
func pieceOf(length, itemSize int) int { return max(1, min(length/4, pieceBytes/itemSize)) }

const pieceBytes = 16 << 10

// Len returns the number of items that the ring holds when full: at least the
// capacity asked for.
func (s *Sender[T]) Len() int { return s.rb.Len() }

// Raw gives access to the ring without doorbells, for those who signal themselves:
// call [Sender.Signal] whenever a call returns signal = true.
func (s *Sender[T]) Raw() *ringbuf.Sender[T] { return &s.rb }

// usable is nil while the ring can be sent to.
func (s *Sender[T]) usable(op string) error {
	if s.status.Load() == 0 {
		return nil
	}
	return s.ended(op)
}

func (s *Sender[T]) ended(op string) error {
	if s.status.Load()&statusClosed != 0 {
		return s.wrap(op, ErrClosed)
	}
	return s.goneError(op, ErrPeerGone)
}

// Free returns the number of items that can be sent now. The slot that is kept
// spare (see [WithHold]) does not count until Arm gives it up.
func (s *Sender[T]) Free() (int, error) {
	if err := s.usable("free"); err != nil {
		return 0, err
	}
	n, err := s.rb.Free()
	return n, s.wrap("free", err)
}

// Send copies as many items of src into the ring as there is room for, and
// returns how many. A long src goes in pieces, so that the receiver begins while the rest
// is copied. It never waits. After a short count, call Arm before waiting
// on FD.
func (s *Sender[T]) Send(src []T) (int, error) {
	if s.status.Load() != 0 {
		return 0, s.ended("send")
	}
	if len(src) <= s.piece {
		return s.sendPiece(src)
	}
	for n := 0; ; {
		sent, err := s.sendPiece(src[n:min(len(src), n+s.piece)])
		n += sent
		if s.short || err != nil || n == len(src) {
			return n, err
		}
	}
}

func (s *Sender[T]) sendPiece(src []T) (int, error) {
	n, signal, err := s.rb.Send(src)
	s.short = n < len(src)
	if signal || err != nil {
		err = s.notify(signal, "send", err)
	}
	return n, err
}

// SendContext copies all of src into the ring, waiting for room as often as
// needed. It returns how many items were sent, all unless there is an error:
// ctx's, [ErrClosed], [ErrPeerGone] or [ringbuf.ErrCorrupt].
func (s *Sender[T]) SendContext(ctx context.Context, src []T) (n int, err error) {
	for {
		sent, err := s.Send(src[n:])
		n += sent
		if err != nil || !s.short {
			return n, err
		}
		if err := s.await(ctx, "send", s.pending, s.arm); err != nil {
			return n, err
		}
	}
}

// Reserve returns free slots to fill in place: n at the most, fewer at the end of
// the memory or when the ring is nearly full, none when it is full; then call Arm
// before waiting on FD. The slots show what they held before; fill them and call
// Commit. The slice is valid until the next Reserve, Send or Close, and while the
// Sender is reachable.
func (s *Sender[T]) Reserve(n int) ([]T, error) {
	if err := s.usable("reserve"); err != nil {
		return nil, err
	}
	span, err := s.rb.Reserve(n)
	s.short = len(span) < n
	return span, s.wrap("reserve", err)
}

// ReserveContext is Reserve, but waits until there is at least one slot.
func (s *Sender[T]) ReserveContext(ctx context.Context, n int) ([]T, error) {
	for {
		span, err := s.Reserve(n)
		if err != nil || len(span) > 0 || n == 0 {
			return span, err
		}
		if err := s.await(ctx, "reserve", s.pending, s.arm); err != nil {
			return nil, err
		}
	}
}

// Commit sends the first n items of the last Reserve. More than it returned is a
// [ringbuf.ErrRange], and nothing is sent.
func (s *Sender[T]) Commit(n int) error {
	if err := s.usable("commit"); err != nil {
		return err
	}
	signal, err := s.rb.Commit(n)
	return s.notify(signal, "commit", err)
}

// SendEach sends up to n items that f makes, and returns how many; f is called
// only while there is room. If f panics, the items made before are sent.
func (s *Sender[T]) SendEach(n int, f func() T) (int, error) {
	if err := s.usable("send"); err != nil {
		return 0, err
	}
	defer s.ringOwed()
	sent, signal, err := s.rb.SendEach(n, f)
	s.short = sent < n
	return sent, s.notify(signal, "send", err)
}

// ringOwed rings the doorbell that a panicking callback left due.
func (s *Sender[T]) ringOwed() {
	if s.rb.Owed() {
		_ = s.Signal() // the panic is what the caller sees
	}
}

// Pending tells whether there is room again after a call that came up short. It
// makes no system call.
func (s *Sender[T]) Pending() (bool, error) {
	if !s.short {
		return false, s.usable("pending")
	}
	n, err := s.Free()
	return n > 0, err
}

// Arm is called before sleeping on FD. It gives up the spare slot and looks again:
// pending = true means there is room after a call that came up short, so send more;
// false means that there is nothing to wait for, or that FD will see an edge when
// there is room.
//
// With socket doorbells Arm also takes the bells off the socket and finds out whether
// the peer has ended. It reports pending too if there are more bells than it takes in
// one call, as from a peer that rings without end. Call it now and then also if you
// never wait: a peer in the Rust crate blocks once some hundred bells were not taken.
func (s *Sender[T]) Arm() (pending bool, err error) {
	more := s.waits.kind == socketDoorbell && s.listen()
	if err := s.usable("arm"); err != nil || !s.short {
		return more && err == nil, err
	}
	pending, err = s.rb.Arm()
	return pending || more, s.wrap("arm", err)
}
