package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

// numbers is how many different ones a client asks for.
const numbers = 10

// caller is a client's way to the server.
type caller interface {
	// call sends a number and returns the answer.
	call(number uint64) (uint64, error)
	close() error
}

var dialers = map[string]func(ctx context.Context, address string) (caller, error){
	"tcp":  func(ctx context.Context, address string) (caller, error) { return dialSocket(ctx, "tcp", address) },
	"unix": func(ctx context.Context, address string) (caller, error) { return dialSocket(ctx, "unix", address) },
	"ring": dialRing,
}

// request is one client: it sends requests and checks that each answer is higher than the
// last one for the same number.
func request(ctx context.Context, s settings) error {
	c, err := dialers[s.via](ctx, s.connect)
	if err != nil {
		return err
	}
	err = ask(c, s)
	return errors.Join(err, c.close())
}

func ask(c caller, s settings) error {
	start := time.Now()
	var last [numbers]uint64
	for i := range s.count {
		number := i % numbers
		answer, err := c.call(uint64(number))
		if err != nil {
			return fmt.Errorf("request %d: %w", i, err)
		}
		if answer <= last[number] {
			return fmt.Errorf("request %d: number %d was asked for %d times, and %d times before", i, number, answer, last[number])
		}
		last[number] = answer
	}
	fmt.Printf("%-4s: %d requests, %v each\n", s.via, s.count, time.Since(start)/time.Duration(s.count))
	return nil
}

type socket struct {
	conn net.Conn
	buf  [8]byte
}

func dialSocket(ctx context.Context, network, address string) (caller, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &socket{conn: conn}, nil
}

func (s *socket) call(number uint64) (uint64, error) {
	binary.NativeEndian.PutUint64(s.buf[:], number)
	if _, err := s.conn.Write(s.buf[:]); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(s.conn, s.buf[:])
	return binary.NativeEndian.Uint64(s.buf[:]), err
}

func (s *socket) close() error { return s.conn.Close() }

// rings are a client's ends.
type rings struct {
	ctx  context.Context
	conn *handoff.Conn
	rx   *sharedring.Receiver[uint64]
	tx   *sharedring.Sender[uint64]
	buf  [1]uint64
}

func dialRing(ctx context.Context, path string) (caller, error) {
	conn, err := handoff.Dial(ctx, path, handoff.Request{ItemSize: 8, Capacity: 256, Direction: handoff.Duplex})
	if err != nil {
		return nil, err
	}
	r := &rings{ctx: ctx, conn: conn}
	if err := r.open(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	go func() {
		err := conn.Wait(context.Background()) // until conn.Close
		r.rx.HangUp(err)
		r.tx.HangUp(err)
	}()
	return r, nil
}

func (r *rings) open() error {
	in, err := r.conn.In()
	if err != nil {
		return err
	}
	if r.rx, err = sharedring.OpenReceiver[uint64](in); err != nil {
		return err
	}
	out, err := r.conn.Out()
	if err != nil {
		return err
	}
	r.tx, err = sharedring.OpenSender[uint64](out)
	return err
}

func (r *rings) call(number uint64) (uint64, error) {
	r.buf[0] = number
	if _, err := r.tx.SendContext(r.ctx, r.buf[:]); err != nil {
		return 0, err
	}
	_, err := r.rx.ReceiveContext(r.ctx, r.buf[:])
	return r.buf[0], err
}

// close closes the rings first, so that the farewell follows all data.
func (r *rings) close() error {
	var errs []error
	if r.tx != nil {
		errs = append(errs, r.tx.Close())
	}
	if r.rx != nil {
		errs = append(errs, r.rx.Close())
	}
	return errors.Join(append(errs, r.conn.Close())...)
}
