package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

// ringBytes is the capacity of each ring: large enough to keep the server busy
// while a producer sleeps, small enough to stay in a core's cache.
const ringBytes = 64 << 10

// produce is one producer process: a goroutine for each of its rings.
func produce(ctx context.Context, s settings) error {
	errs := make([]error, s.rings)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = produceRing(ctx, s) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func produceRing(ctx context.Context, s settings) error {
	conn, err := handoff.Dial(ctx, s.connect, handoff.Request{ItemSize: 1, Capacity: ringBytes, Direction: handoff.Out})
	if ctx.Err() != nil {
		return nil // interrupted before it began
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	h, err := conn.Out()
	if err != nil {
		return err
	}
	tx, err := sharedring.OpenSender[byte](h)
	if err != nil {
		return err
	}
	defer tx.Close()
	watching, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		if err := conn.Wait(watching); watching.Err() == nil {
			tx.HangUp(err)
		}
	}()
	return send(ctx, s, tx)
}

// send sends records until the time is over or ctx ends, then the last record.
func send(ctx context.Context, s settings, tx *sharedring.Sender[byte]) error {
	frames := sharedring.NewFrameSender(tx)
	record := make([]byte, recordHeader+s.size)
	for i := range s.size {
		record[recordHeader+i] = byte(i)
	}
	sequence := uint64(0)
	for end := now() + int64(s.duration/time.Nanosecond); ctx.Err() == nil; sequence++ {
		at := now()
		if at >= end {
			break
		}
		putHeader(record, sequence, at)
		// Not ctx: a record that was begun is finished, so that the last one fits.
		if err := frames.SendContext(context.Background(), record); err != nil {
			return sendError(ctx, sequence, err)
		}
	}
	err := frames.SendContext(context.Background(), endRecord(sequence, tx.Doorbells()))
	return sendError(ctx, sequence, err)
}

// sendError is nil if the server left because all of us were interrupted.
func sendError(ctx context.Context, sequence uint64, err error) error {
	if err == nil || ctx.Err() != nil && errors.Is(err, sharedring.ErrPeerGone) {
		return nil
	}
	return fmt.Errorf("after %d records: %w", sequence, err)
}
