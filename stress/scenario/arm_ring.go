package scenario

import (
	"context"
	"errors"

	"github.com/shmloop/shmloop/sharedring"
)

// trusting rings doorbells with a plain write, as the Rust crate does: the other end
// is this program too.
var trusting = sharedring.TrustPeer()

// newByteRing makes a ring of bytes, opens the receiving end and returns the
// descriptors of the sending end.
func newByteRing(capacity int) (*sharedring.Receiver[byte], []int, error) {
	rx, err := sharedring.NewReceiver[byte](capacity, trusting)
	if err != nil {
		return nil, nil, err
	}
	h, err := rx.Handle()
	if err != nil {
		return nil, nil, errors.Join(err, rx.Close())
	}
	return rx, []int{h.Memory, h.EmptySignal, h.FullSignal}, nil
}

// inherited is the handle of the i-th ring that a peer was given.
func inherited(i, capacity int) sharedring.Handle {
	fd := firstFile + 3*i
	return sharedring.Handle{Capacity: capacity, ItemSize: 1, Memory: fd, EmptySignal: fd + 1, FullSignal: fd + 2}
}

// ringReads is an end on which bytes come. They are read as a user would.
func ringReads(rx *sharedring.Receiver[byte]) *end {
	return &end{
		Reader:    sharedring.NewReader(context.Background(), rx),
		hangUp:    func() { rx.HangUp(nil) },
		doorbells: rx.Doorbells,
		close:     rx.Close,
	}
}

// ringWrites is an end from which bytes leave. The end of ctx ends a call that waits
// for room. HangUp would too, but a sender that closes after it takes back what the
// receiver has not seen.
func ringWrites(ctx context.Context, tx *sharedring.Sender[byte]) *end {
	return &end{Writer: sharedring.NewWriter(ctx, tx), doorbells: tx.Doorbells, close: tx.Close}
}

// ringGathers is ringWrites with one shared write for many messages: they are copied
// into free space of the ring, and sent when it is used up.
func ringGathers(ctx context.Context, tx *sharedring.Sender[byte]) *end {
	g := &gatherer{ctx: ctx, tx: tx}
	return &end{Writer: g, flush: g.flush, doorbells: tx.Doorbells, close: tx.Close}
}

type gatherer struct {
	ctx  context.Context
	tx   *sharedring.Sender[byte]
	span []byte
	used int // bytes of span that are to be sent
}

func (g *gatherer) Write(p []byte) (done int, err error) {
	for {
		n := copy(g.span[g.used:], p[done:])
		g.used += n
		if done += n; done == len(p) {
			return done, nil
		}
		if err := g.next(); err != nil {
			return done, err
		}
	}
}

// next sends what there is and waits for more space.
func (g *gatherer) next() (err error) {
	if err := g.flush(); err != nil {
		return err
	}
	g.span, err = g.tx.ReserveContext(g.ctx, ringBatch)
	return err
}

func (g *gatherer) flush() error {
	err := g.tx.Commit(g.used)
	g.span, g.used = nil, 0
	return err
}

// A waiter says how one reads from a ring of which the other end answers. close frees
// what it needs.
type waiter func(rx *sharedring.Receiver[byte]) (read func([]byte) (int, error), close func() error, err error)

// ringBoth is an end of two rings, one each way.
func ringBoth(ctx context.Context, rx *sharedring.Receiver[byte], tx *sharedring.Sender[byte], wait waiter) (*end, error) {
	read, done, err := wait(rx)
	if err != nil {
		return nil, errors.Join(err, rx.Close(), tx.Close())
	}
	in, out := ringReads(rx), ringWrites(ctx, tx)
	return &end{
		Reader:    readFunc(read),
		Writer:    out.Writer,
		hangUp:    in.hangUp,
		doorbells: func() uint64 { return in.doorbells() + out.doorbells() },
		close:     func() error { return errors.Join(done(), in.close(), out.close()) },
	}, nil
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func nothingToClose() error { return nil }

// spinning asks the ring until there is something.
func spinning(rx *sharedring.Receiver[byte]) (func([]byte) (int, error), func() error, error) {
	return func(p []byte) (int, error) {
		for {
			if n, err := rx.Receive(p); n > 0 || err != nil {
				return n, err
			}
		}
	}, nothingToClose, nil
}

// sleeping sleeps at once, in an epoll of its own on its own thread, as a C program
// would: no spinning before, and no scheduler of goroutines around it.
func sleeping(rx *sharedring.Receiver[byte]) (func([]byte) (int, error), func() error, error) {
	epfd, err := newEdge(rx.FD())
	if err != nil {
		return nil, nil, err
	}
	return func(p []byte) (int, error) {
		for {
			if n, err := rx.Receive(p); n > 0 || err != nil {
				return n, err
			}
			if pending, err := rx.Arm(); err != nil {
				return 0, err
			} else if pending {
				continue
			}
			if err := awaitEdge(epfd); err != nil {
				return 0, err
			}
		}
	}, func() error { return closeFD(epfd) }, nil
}

// blocking is the package's own call: it spins for some microseconds and then parks
// the goroutine.
func blocking(rx *sharedring.Receiver[byte]) (func([]byte) (int, error), func() error, error) {
	return sharedring.NewReader(context.Background(), rx).Read, nothingToClose, nil
}

// newRingPair makes a ring each way and returns the near end, and the descriptors of
// the far end: those of the ring on which it receives come first.
func newRingPair(ctx context.Context, capacity int, wait waiter) (*end, []int, error) {
	rx, back, err := newByteRing(capacity)
	if err != nil {
		return nil, nil, err
	}
	tx, err := sharedring.NewSender[byte](capacity, trusting)
	if err != nil {
		return nil, nil, errors.Join(err, rx.Close(), closeAll(back))
	}
	near, err := ringBoth(ctx, rx, tx, wait)
	if err != nil {
		return nil, nil, errors.Join(err, closeAll(back))
	}
	h, err := tx.Handle()
	if err != nil {
		return nil, nil, errors.Join(err, near.close(), closeAll(back))
	}
	return near, append([]int{h.Memory, h.EmptySignal, h.FullSignal}, back...), nil
}

// openRingPair opens the far end of newRingPair.
func openRingPair(ctx context.Context, capacity int, wait waiter) (*end, error) {
	rx, err := sharedring.OpenReceiver[byte](inherited(0, capacity), trusting)
	if err != nil {
		return nil, err
	}
	tx, err := sharedring.OpenSender[byte](inherited(1, capacity), trusting)
	if err != nil {
		return nil, errors.Join(err, rx.Close())
	}
	return ringBoth(ctx, rx, tx, wait)
}

func closeAll(fds []int) error {
	var errs []error
	for _, fd := range fds {
		errs = append(errs, closeFD(fd))
	}
	return errors.Join(errs...)
}
