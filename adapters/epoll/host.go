package epoll

import (
	"errors"

	"github.com/shmloop/shmloop/reactor"
)

// host is the program's epoll set as a Guest sees it.
type host struct {
	epfd   int // borrowed
	wakefd int // eventfd, edge-triggered and never read
}

var _ reactor.Host = host{}

// wakeToken stands for wakefd. A Guest's tokens are never 0.
const wakeToken = 0

func newHost(epfd int) (host, error) {
	fd, err := eventfdCreate()
	if err != nil {
		return host{}, err
	}
	h := host{epfd, fd}
	if err := h.Watch(fd, wakeToken); err != nil {
		return host{}, errors.Join(err, closeFD(fd))
	}
	return h, nil
}

func (h host) Watch(fd int, token uint64) error {
	return epollAdd(h.epfd, fd, edgeMask, newDatum(DirectTag, token))
}

func (h host) Unwatch(fd int, token uint64) error { return epollDelete(h.epfd, fd) }

func (h host) Wake() error { return eventfdWrite(h.wakefd) }

// close must come after the last Wake.
func (h host) close() error {
	return errors.Join(epollDelete(h.epfd, h.wakefd), closeFD(h.wakefd))
}
