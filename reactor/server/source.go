package server

import (
	"errors"

	"github.com/shmloop/shmloop/reactor"
)

// inbound is the receiving end of a Conn as the loop sees it.
type inbound[T any] Conn[T]

// outbound is the sending end of a Conn as the loop sees it.
type outbound[T any] Conn[T]

var (
	_ reactor.Source = (*inbound[byte])(nil)
	_ reactor.Source = (*outbound[byte])(nil)
)

func (s *inbound[T]) FD() int { return s.rx.FD() }

func (s *inbound[T]) Pending() (bool, error) {
	if s.ended {
		return s.last()
	}
	return s.rx.Pending()
}

func (s *inbound[T]) Arm() (bool, error) {
	if s.ended {
		return s.last()
	}
	pending, err := s.rx.Arm()
	s.idle = !pending && err == nil
	return pending, err
}

// last is Pending after the end of the peer. Ready was called since; it may have
// overlooked the end, and then would be called for ever.
func (s *inbound[T]) last() (bool, error) {
	n, err := s.rx.Available()
	if n == 0 && err == nil {
		err = (*Conn[T])(s).endError()
	}
	return n > 0, err
}

// errOutGone ends the registration of a sending end whose peer is gone, while
// there is another for the receiving end.
var errOutGone = errors.New("peer is gone")

func (s *outbound[T]) FD() int { return s.tx.FD() }

func (s *outbound[T]) Pending() (bool, error) { return s.look(s.tx.Pending) }
func (s *outbound[T]) Arm() (bool, error)     { return s.look(s.tx.Arm) }

func (s *outbound[T]) look(at func() (bool, error)) (bool, error) {
	if s.gone {
		return false, errOutGone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return at()
}
