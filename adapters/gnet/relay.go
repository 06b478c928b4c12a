package gnetring

import (
	"context"
	"errors"

	"github.com/shmloop/shmloop/reactor"
)

// A relay waits on doorbells for an event loop: an epoll on a goroutine of its own.
type relay struct {
	loop  *reactor.Loop
	ended chan struct{}
}

func newRelay() (*relay, error) {
	l, err := reactor.NewLoop()
	if err != nil {
		return nil, err
	}
	r := &relay{loop: l, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		_ = l.Run(context.Background()) // until close
	}()
	return r, nil
}

func (r *relay) close() {
	_ = r.loop.Close() // its descriptors are its own
	<-r.ended
}

// relayed is a doorbell of a relay.
type relayed struct{ registration *reactor.Registration }

func (r relayed) stop() error { return r.registration.Close() }

// watchRelayed needs l.mu.
func (l *Loop) watchRelayed(fd int, token uint64) (watched, error) {
	if l.relay == nil {
		r, err := newRelay()
		if err != nil {
			return nil, err
		}
		l.relay = r
	}
	reg, err := l.relay.loop.Register(fd, reactor.Readable|reactor.EdgeTriggered, reactor.Handler{
		Ready: func(reactor.Event) error {
			l.relayed(token)
			return nil
		},
	})
	if errors.Is(err, reactor.ErrClosed) {
		return nil, reactor.ErrClosed
	}
	if err != nil {
		return nil, err
	}
	return relayed{reg}, nil
}
