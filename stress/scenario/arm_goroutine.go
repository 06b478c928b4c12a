package scenario

import (
	"context"
	"errors"
	"sync"
)

// serveByGoroutines is a goroutine for each ring.
func serveByGoroutines(rings []ring, take func(int, []record)) (*service, error) {
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	var all sync.WaitGroup
	for i, rx := range rings {
		all.Go(func() {
			if err := receive(ctx, rx, i, take); !errors.Is(err, context.Canceled) {
				report(failed, err)
			}
		})
	}
	return &service{failed: failed, stop: func() error {
		cancel()
		all.Wait()
		return nil
	}}, nil
}

func receive(ctx context.Context, rx ring, i int, take func(int, []record)) error {
	buf := make([]record, turn)
	for {
		n, err := rx.ReceiveContext(ctx, buf)
		if err != nil {
			return err
		}
		take(i, buf[:n])
	}
}
