package epoll

import (
	"errors"
	"fmt"

	"github.com/shmloop/shmloop/reactor"
)

// Nested is a [reactor.Loop] behind one descriptor in the host's epoll set, whatever the
// number of rings, sockets and timers that the Loop has. Its methods are those of the
// Loop; but Dispatch drives it, so Run is not for it. No ring is polled:
// each message to a ring that ran dry costs its peer a doorbell.
//
// Close is that of the Loop. It takes the descriptor out of the host's epoll set by
// closing it.
type Nested struct {
	*reactor.Loop
	datum datum
}

// NewNested makes a Nested in the epoll set epfd. On other systems than Linux the error
// matches errors.ErrUnsupported.
func NewNested(epfd int, opts ...reactor.Option) (*Nested, error) {
	l, err := reactor.NewLoop(opts...)
	if err != nil {
		return nil, fmt.Errorf("epoll: new nested: %w", err)
	}
	n := &Nested{Loop: l, datum: newDatum(NestedTag, uint64(l.FD()))}
	if err := epollAdd(epfd, l.FD(), levelMask, n.datum); err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: new nested: %w", err), l.Close())
	}
	return n, nil
}

// Dispatch deals with an event that epoll_wait returned, and is false if it is not that
// of this Nested. It runs one round, Poll(0): posts, timers, and one turn of each ring
// and descriptor that is due. What is left over makes the next epoll_wait of the
// host return at once. A late event, after Close, does no harm.
//
// It is called on the goroutine of the host's loop. Inside a callback it does nothing.
func (n *Nested) Dispatch(ev *Event) (handled bool) {
	if datumOf(ev) != n.datum {
		return false
	}
	_, _ = n.Poll(0) // fails when closed, or inside a callback
	return true
}
