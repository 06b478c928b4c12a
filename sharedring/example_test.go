//go:build linux

package sharedring_test

import (
	"context"
	"fmt"
	"log"

	"github.com/shmloop/shmloop/sharedring"
)

// A sample is what crosses the ring: fixed size, no pointers, no padding.
type sample struct {
	Sequence uint64
	Value    float64
}

// Both ends in one process; package handoff gives one of them to another.
func Example() {
	rx, err := sharedring.NewReceiver[sample](1000)
	if err != nil {
		log.Fatal(err)
	}
	defer rx.Close()
	h, err := rx.Handle()
	if err != nil {
		log.Fatal(err)
	}
	tx, err := sharedring.OpenSender[sample](h)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Close()

	ctx := context.Background()
	if _, err := tx.SendContext(ctx, []sample{{1, 0.5}, {2, 0.25}}); err != nil {
		log.Fatal(err)
	}
	buf := make([]sample, 100)
	n, err := rx.ReceiveContext(ctx, buf)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(buf[:n])
	// Output: [{1 0.5} {2 0.25}]
}

// With sockets as doorbells an end knows by itself when the other is closed, or dead.
func ExampleWithSocketDoorbells() {
	rx, err := sharedring.NewReceiver[sample](1000, sharedring.WithSocketDoorbells())
	if err != nil {
		log.Fatal(err)
	}
	defer rx.Close()
	h, err := rx.Handle() // the sender's ends of the sockets; rx has its own
	if err != nil {
		log.Fatal(err)
	}
	tx, err := sharedring.OpenSender[sample](h)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := tx.Send([]sample{{1, 0.5}}); err != nil {
		log.Fatal(err)
	}
	if err := tx.Close(); err != nil {
		log.Fatal(err)
	}

	buf := make([]sample, 100)
	for {
		n, err := rx.ReceiveContext(context.Background(), buf)
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(buf[:n])
	}
	// Output:
	// [{1 0.5}]
	// EOF
}

func ExampleSender_Reserve() {
	tx, err := sharedring.NewSender[uint32](1000)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Close()
	span, err := tx.Reserve(3)
	if err != nil {
		log.Fatal(err)
	}
	for i := range span {
		span[i] = uint32(i * i) // written into the shared memory itself
	}
	if err := tx.Commit(len(span)); err != nil {
		log.Fatal(err)
	}
	free, _ := tx.Free()
	fmt.Println(tx.Len()-free, "slots are not free: three items and the spare one")
	// Output: 4 slots are not free: three items and the spare one
}

func ExampleFrameSender() {
	tx, err := sharedring.NewSender[byte](4096)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Close()
	h, err := tx.Handle()
	if err != nil {
		log.Fatal(err)
	}
	rx, err := sharedring.OpenReceiver[byte](h)
	if err != nil {
		log.Fatal(err)
	}
	defer rx.Close()

	frames := sharedring.NewFrameSender(tx)
	for _, text := range []string{"any length,", "one at a time"} {
		if err := frames.Send([]byte(text)); err != nil {
			log.Fatal(err)
		}
	}
	in := sharedring.NewFrameReceiver(rx, 1<<20)
	for {
		frame, ok, err := in.Next()
		if err != nil {
			log.Fatal(err)
		}
		if !ok {
			break
		}
		fmt.Printf("%s\n", frame)
	}
	// Output:
	// any length,
	// one at a time
}
