package scenario

import (
	"context"
	"errors"

	"github.com/shmloop/shmloop/reactor"
)

// turn is how many records of a ring are taken at a time.
const turn = 64

// serveByLoop is one loop for all rings.
func serveByLoop(rings []ring, take func(int, []record)) (*service, error) {
	loop, err := reactor.NewLoop()
	if err != nil {
		return nil, err
	}
	failed := make(chan error, 1)
	if err := attachAll(loop, rings, turn, take, failed); err != nil {
		return nil, errors.Join(err, loop.Close())
	}
	return runLoop(loop, failed), nil
}

// attacher is a loop, or what stands for one.
type attacher interface {
	Attach(reactor.Source, reactor.Handler) (*reactor.Registration, error)
}

// attachAll gives rings to a loop, which takes up to batch records of one at a time.
func attachAll(loop attacher, rings []ring, batch int, take func(int, []record), failed chan<- error) error {
	buf := make([]record, batch) // a loop has one goroutine
	for i, rx := range rings {
		_, err := loop.Attach(rx, reactor.Handler{
			Ready: func(reactor.Event) error {
				n, err := rx.Receive(buf)
				if n > 0 {
					take(i, buf[:n])
				}
				return err
			},
			Closed: func(err error) { report(failed, err) },
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// runLoop runs a loop until the service is stopped.
func runLoop(loop *reactor.Loop, failed chan error) *service {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := loop.Run(ctx)
		if ctx.Err() != nil {
			err = nil
		}
		report(failed, err)
		ended <- err
	}()
	return &service{
		failed: failed,
		waits:  func() uint64 { return loop.Stats().Waits },
		stop: func() error {
			cancel()
			return errors.Join(<-ended, loop.Close())
		},
	}
}

// report tells of the first error only. The end of a loop is none.
func report(failed chan<- error, err error) {
	if err == nil || errors.Is(err, reactor.ErrClosed) {
		return
	}
	select {
	case failed <- err:
	default:
	}
}
