package server_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/shmloop/shmloop/reactor/server"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

type sample struct {
	Sequence uint64
	Value    float64
}

// A server that receives samples from clients. They are other processes; here one
// is a function.
func Example() {
	const path = "@shmloop-example-server" // abstract: no file
	ended := make(chan bool)
	srv, err := server.New(server.Handler[sample]{
		Open: func(c *server.Conn[sample]) error {
			c.Data = new(float64) // of this client: the sum of its values
			return nil
		},
		Ready: func(c *server.Conn[sample]) error {
			var batch [256]sample
			n, err := c.Receive(batch[:])
			for _, s := range batch[:n] {
				*c.Data.(*float64) += s.Value
			}
			return err
		},
		Close: func(c *server.Conn[sample], err error) {
			fmt.Println("sum:", *c.Data.(*float64), "error:", err)
			close(ended)
		},
	}, server.Config{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- srv.Serve(context.Background(), path) }()
	<-srv.Listening()

	if err := sendSamples(context.Background(), path); err != nil {
		log.Fatal(err)
	}
	<-ended

	deadline, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	fmt.Println("shutdown:", srv.Shutdown(deadline), <-served)
	st := srv.Stats()
	fmt.Println("opened:", st.Opened, "clean:", st.Clean, "items:", st.Items)
	// Output:
	// sum: 499500 error: <nil>
	// shutdown: <nil> <nil>
	// opened: 1 clean: 1 items: 1000
}

func sendSamples(ctx context.Context, path string) error {
	conn, err := handoff.Dial(ctx, path, handoff.Request{ItemSize: 16, Capacity: 256, Direction: handoff.Out})
	if err != nil {
		return err
	}
	defer conn.Close() // after the ring: the farewell says that all was sent
	ring, err := conn.Out()
	if err != nil {
		return err
	}
	tx, err := sharedring.OpenSender[sample](ring)
	if err != nil {
		return err
	}
	defer tx.Close()
	for i := range 1000 {
		if _, err := tx.SendContext(ctx, []sample{{uint64(i), float64(i)}}); err != nil {
			return err
		}
	}
	return nil
}

// An echo server. When a client does not take its answers, its requests wait.
func ExampleConn_Pause() {
	srv, err := server.New(server.Handler[byte]{
		Ready: func(c *server.Conn[byte]) error {
			requests, err := c.Receiver().Peek()
			if err != nil {
				return err
			}
			n, err := c.Send(context.Background(), requests)
			switch {
			case errors.Is(err, server.ErrFull):
				c.Pause() // Ready is called when there is room
			case err != nil:
				return err
			default:
				c.Resume()
			}
			return c.Receiver().Discard(n)
		},
	}, server.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- srv.Serve(ctx, "@shmloop-example-echo") }()
	<-srv.Listening()

	conn, err := handoff.Dial(ctx, "@shmloop-example-echo", handoff.Request{ItemSize: 1, Capacity: 64, Direction: handoff.Duplex})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := ask(ctx, conn, "hello"); err != nil {
		log.Fatal(err)
	}
	cancel()
	fmt.Println(<-served)
	// Output:
	// hello
	// <nil>
}

func ask(ctx context.Context, conn *handoff.Conn, question string) error {
	out, err := conn.Out()
	if err != nil {
		return err
	}
	tx, err := sharedring.OpenSender[byte](out)
	if err != nil {
		return err
	}
	defer tx.Close()
	in, err := conn.In()
	if err != nil {
		return err
	}
	rx, err := sharedring.OpenReceiver[byte](in)
	if err != nil {
		return err
	}
	defer rx.Close()
	if _, err := tx.SendContext(ctx, []byte(question)); err != nil {
		return err
	}
	for got := 0; got < len(question); {
		var answer [64]byte
		n, err := rx.ReceiveContext(ctx, answer[:])
		if err != nil {
			return err
		}
		fmt.Print(string(answer[:n]))
		got += n
	}
	fmt.Println()
	return nil
}
