package gnetring

import (
	"errors"
	"fmt"

	"github.com/shmloop/shmloop/reactor"
)

// host is a Loop as its guest sees it. The guest calls with its own lock held.
type host Loop

var _ reactor.Host = (*host)(nil)

// Watch implements reactor.Host. What it begins may end later, in OnOpen or in an error
// that the registration is told.
func (h *host) Watch(fd int, token uint64) error {
	l := (*Loop)(h)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return reactor.ErrClosed
	}
	r := l.fds[fd]
	if r == nil {
		return fmt.Errorf("a source that changes its descriptor to %d: %w", fd, reactor.ErrInvalid)
	}
	r.token = token
	w, err := l.watch(r, fd)
	if err != nil && r.fallback {
		r.route = RouteRelay
		var relayErr error
		if w, relayErr = l.watch(r, fd); relayErr == nil {
			err = nil
		}
		err = errors.Join(err, relayErr)
	}
	if err != nil {
		return fmt.Errorf("route %s: %w", r.route, err)
	}
	l.watched[token] = w
	return nil
}

// watch needs l.mu.
func (l *Loop) watch(r *Registration, fd int) (watched, error) {
	if r.route == RouteRelay {
		return l.watchRelayed(fd, r.token)
	}
	return l.watchEnrolled(r, fd)
}

// Unwatch implements reactor.Host.
func (h *host) Unwatch(fd int, token uint64) error {
	l := (*Loop)(h)
	l.mu.Lock()
	w := l.watched[token]
	delete(l.watched, token)
	delete(l.fds, fd)
	l.mu.Unlock()
	return w.stop()
}

// Wake implements reactor.Host.
func (h *host) Wake() error {
	(*Loop)(h).wake()
	return nil
}
