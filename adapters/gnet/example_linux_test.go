package gnetring_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/panjf2000/gnet/v2"

	gnetring "github.com/shmloop/shmloop/adapters/gnet"
	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

// summer adds up the numbers of its clients. With one event loop it needs no lock.
type summer struct {
	gnet.BuiltinEventEngine
	booted chan gnet.Engine
	sums   chan uint64 // one for each client, when it left
}

func (s *summer) OnBoot(e gnet.Engine) gnet.Action {
	s.booted <- e
	return gnet.None
}

func (s *summer) serve(c *gnetring.Client) error {
	h, err := c.In()
	if err != nil {
		return err
	}
	rx, err := sharedring.OpenReceiver[uint64](h)
	if err != nil {
		return err
	}
	buf, sum := make([]uint64, 64), uint64(0)
	_, err = c.Attach(rx, reactor.Handler{
		Ready: func(reactor.Event) error {
			n, err := rx.Receive(buf)
			for _, v := range buf[:n] {
				sum += v
			}
			return err
		},
		Closed: func(err error) {
			fmt.Println("the client's end:", err)
			rx.Close()
			s.sums <- sum
		},
	})
	if err != nil {
		return errors.Join(err, rx.Close())
	}
	return nil
}

// A gnet server whose unix socket also gives rings to clients of package handoff.
func ExampleWithHandshake() {
	dir, err := os.MkdirTemp("", "gnetring")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "socket")

	s := &summer{booted: make(chan gnet.Engine, 1), sums: make(chan uint64, 1)}
	rings := gnetring.Wrap(s, gnetring.WithHandshake(handoff.Config{}, s.serve))
	ended := make(chan error, 1)
	go func() { ended <- gnet.Run(rings, "unix://"+path, gnet.WithLogger(silence{})) }()
	engine := <-s.booted

	if err := produce(path, 1, 2, 3); err != nil {
		fmt.Println("client:", err)
		return
	}
	fmt.Println("sum:", <-s.sums)
	if err := engine.Stop(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println("engine:", <-ended)
	// Output:
	// the client's end: EOF
	// sum: 6
	// engine: <nil>
}

// produce is a client, which would be another process.
func produce(path string, numbers ...uint64) error {
	ctx := context.Background()
	conn, err := handoff.Dial(ctx, path, handoff.Request{ItemSize: 8, Capacity: 1024, Direction: handoff.Out})
	if err != nil {
		return err
	}
	defer conn.Close()
	h, err := conn.Out()
	if err != nil {
		return err
	}
	tx, err := sharedring.OpenSender[uint64](h)
	if err != nil {
		return err
	}
	defer tx.Close()
	_, err = tx.SendContext(ctx, numbers)
	return err
}

// silence is a gnet logger.
type silence struct{}

func (silence) Debugf(string, ...any) {}
func (silence) Infof(string, ...any)  {}
func (silence) Warnf(string, ...any)  {}
func (silence) Errorf(string, ...any) {}
func (silence) Fatalf(string, ...any) {}
