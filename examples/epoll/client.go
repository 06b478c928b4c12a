package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

// ringBytes is the capacity of each ring.
const ringBytes = 4096

// request is one client: it sends requests and checks the answers.
func request(ctx context.Context, s settings) error {
	dial := dialRing
	if s.via == "socket" {
		dial = dialSocket
	}
	conn, err := dial(ctx, s.connect)
	if err != nil {
		return err
	}
	defer conn.Close()
	start := time.Now()
	for i := range s.count {
		if err := roundTrip(conn, i); err != nil {
			return fmt.Errorf("request %d: %w", i, err)
		}
	}
	fmt.Printf("%s: %d requests, %v each\n", s.via, s.count, time.Since(start)/time.Duration(s.count))
	return conn.Close()
}

func roundTrip(conn io.ReadWriter, i int) error {
	question := fmt.Appendf(nil, "request %9d\n", i)
	if _, err := conn.Write(question); err != nil {
		return err
	}
	answer := make([]byte, len(question))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if !bytes.Equal(question, answer) {
		return fmt.Errorf("the answer to %q was %q", question, answer)
	}
	return nil
}

func dialSocket(ctx context.Context, path string) (io.ReadWriteCloser, error) {
	return new(net.Dialer).DialContext(ctx, "unix", path)
}

// ringConn is a ring each way.
type ringConn struct {
	*sharedring.Reader
	*sharedring.Writer
	close func() error
}

func (c ringConn) Close() error { return c.close() }

func dialRing(ctx context.Context, path string) (io.ReadWriteCloser, error) {
	conn, err := handoff.Dial(ctx, ringPath(path), handoff.Request{
		ItemSize: 1, Capacity: ringBytes, Direction: handoff.Duplex,
	})
	if err != nil {
		return nil, err
	}
	rx, tx, err := openEnds(conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go func() {
		err := conn.Wait(context.Background()) // until conn.Close
		rx.HangUp(err)
		tx.HangUp(err)
	}()
	return ringConn{
		sharedring.NewReader(ctx, rx), sharedring.NewWriter(ctx, tx),
		func() error { return errors.Join(tx.Close(), rx.Close(), conn.Close()) },
	}, nil
}

// openEnds takes both rings of conn.
func openEnds(conn *handoff.Conn) (*sharedring.Receiver[byte], *sharedring.Sender[byte], error) {
	in, err := conn.In()
	if err != nil {
		return nil, nil, err
	}
	rx, err := sharedring.OpenReceiver[byte](in)
	if err != nil {
		return nil, nil, err
	}
	out, err := conn.Out()
	if err != nil {
		return nil, nil, errors.Join(err, rx.Close())
	}
	tx, err := sharedring.OpenSender[byte](out)
	if err != nil {
		return nil, nil, errors.Join(err, rx.Close())
	}
	return rx, tx, nil
}

// ringPath is where rings are handed out, beside the socket at path.
func ringPath(path string) string { return path + ".rings" }
