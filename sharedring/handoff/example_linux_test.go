package handoff_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

type sample struct {
	Sequence uint64
	Value    float64
}

const sampleSize = 16

// A server that receives samples from a client. They are processes of their own;
// here they are two goroutines.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "samples")

	listener, err := handoff.Listen(path, handoff.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()

	client := make(chan error)
	go func() { client <- sendSamples(ctx, path) }()

	conn, err := listener.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := receiveSamples(ctx, conn); err != nil {
		log.Fatal(err)
	}
	if err := <-client; err != nil {
		log.Fatal(err)
	}
	// Output:
	// out of 16 bytes
	// sample 0: 0.0
	// sample 1: 0.5
	// sample 2: 1.0
	// clean end
}

func sendSamples(ctx context.Context, path string) error {
	conn, err := handoff.Dial(ctx, path, handoff.Request{ItemSize: sampleSize, Capacity: 256, Direction: handoff.Out})
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
	for i := range 3 {
		if _, err := tx.SendContext(ctx, []sample{{uint64(i), float64(i) / 2}}); err != nil {
			return err
		}
	}
	return nil
}

func receiveSamples(ctx context.Context, conn *handoff.Conn) error {
	req := conn.Request()
	if req.ItemSize != sampleSize {
		return errors.New("the client has another sample in mind")
	}
	fmt.Printf("%s of %d bytes\n", req.Direction, req.ItemSize)
	ring, err := conn.In()
	if err != nil {
		return err
	}
	rx, err := sharedring.OpenReceiver[sample](ring)
	if err != nil {
		return err
	}
	defer rx.Close()
	go func() { rx.HangUp(conn.Wait(ctx)) }()

	var batch [16]sample
	for {
		n, err := rx.ReceiveContext(ctx, batch[:])
		for _, s := range batch[:n] {
			fmt.Printf("sample %d: %.1f\n", s.Sequence, s.Value)
		}
		if errors.Is(err, io.EOF) {
			fmt.Println("clean end")
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// An event loop watches Conn.FD and Conn.PidFD, and asks Check when one of them is
// readable.
func ExampleConn_Check() {
	ctx := context.Background()
	const path = "@shmloop-example-check" // abstract: no file
	listener, err := handoff.Listen(path, handoff.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	client, err := handoff.Dial(ctx, path, handoff.Request{ItemSize: 8, Capacity: 64, Direction: handoff.Duplex})
	if err != nil {
		log.Fatal(err)
	}
	server, err := listener.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	ended, err := server.Check()
	fmt.Println(ended, err)
	client.Close()
	ended, err = server.Check()
	fmt.Println(ended, err)
	// Output:
	// false <nil>
	// true <nil>
}

// A policy that serves two users, each of whom can have eight rings, of one
// mebibyte in all.
func ExampleConfig() {
	users := map[uint32]bool{uint32(os.Getuid()): true, 1000: true}
	listener, err := handoff.Listen("@shmloop-example-config", handoff.Config{
		Allow: func(p handoff.Peer) error {
			if !users[p.UID] {
				return fmt.Errorf("uid %d is not a user of ours", p.UID)
			}
			return nil
		},
		MaxRingsPerUID: 8,
		MaxBytesPerUID: 1 << 20,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()

	_, err = handoff.Dial(context.Background(), "@shmloop-example-config",
		handoff.Request{ItemSize: 1, Capacity: 2 << 20, Direction: handoff.Out})
	fmt.Println(errors.Is(err, handoff.ErrQuota))
	var refused *handoff.RefusedError
	if errors.As(err, &refused) {
		fmt.Println(refused)
	}
	// Output:
	// true
	// refused by the server: quota (bytes of memory)
}
