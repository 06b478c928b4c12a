package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/shmloop/shmloop/reactor/server"
	"github.com/shmloop/shmloop/sharedring"
)

// turn is how many records one ring may deliver before the next ring's turn.
const turn = 256

// tally is what all rings together delivered. What has no other protection belongs
// to the server's one loop.
type tally struct {
	messages  atomic.Uint64 // for the live line
	bytes     atomic.Uint64
	closed    chan struct{} // one for each ring of our own producers; nil without them
	rings     int
	crashed   int
	doorbells uint64
	latencies *hdrhistogram.Histogram
	counts
}

// stream is what belongs to one ring.
type stream struct {
	frames *sharedring.FrameReceiver
	track  track
	ended  bool // the last record came
}

// serve runs the server until producers returns and their rings are drained, or
// without producers until ctx or the duration ends, and then reports.
func serve(ctx context.Context, s settings, path string, producers func() error) error {
	t := &tally{latencies: hdrhistogram.New(1, int64(time.Minute), 3)}
	if producers != nil {
		t.closed = make(chan struct{}, s.rings)
	}
	srv, err := server.New(server.Handler[byte]{Open: t.open, Ready: t.receive, Close: t.close}, server.Config{Loops: 1})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), path) }()
	select {
	case err := <-served:
		return err
	case <-srv.Listening():
	}
	start := time.Now()
	stopLive := live(os.Stderr, t, start)
	if producers != nil {
		err = producers()
		for n := 0; n < s.rings && err == nil && ctx.Err() == nil; n++ {
			<-t.closed
		}
	} else {
		fmt.Fprintf(os.Stderr, "fanin: serving at %s; Ctrl-C ends it\n", path)
		waitFor(ctx, s.duration)
	}
	elapsed := time.Since(start)
	stopLive()
	err = errors.Join(err, srv.Shutdown(context.Background()), <-served)
	return errors.Join(err, t.report(s, elapsed))
}

func waitFor(ctx context.Context, d time.Duration) {
	if d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	<-ctx.Done()
}

func (t *tally) open(c *server.Conn[byte]) error {
	if c.Receiver() == nil {
		return errors.New("a producer sends")
	}
	c.Data = &stream{frames: sharedring.NewFrameReceiver(c.Receiver(), recordHeader+maxSize)}
	return nil
}

// receive is one turn of one ring.
func (t *tally) receive(c *server.Conn[byte]) error {
	s, at, messages, bytes := c.Data.(*stream), now(), uint64(0), uint64(0)
	defer func() {
		t.messages.Add(messages)
		t.bytes.Add(bytes)
	}()
	for range turn {
		frame, ok, err := s.frames.Next()
		if err != nil || !ok {
			return err
		}
		sequence, sent, payload, err := parseRecord(frame)
		if err != nil {
			return err
		}
		if sent == endTime {
			s.ended = true
			s.track.skipTo(sequence)
			t.doorbells += binary.NativeEndian.Uint64(payload)
			continue
		}
		s.track.see(sequence)
		messages++
		bytes += uint64(len(frame))
		_ = t.latencies.RecordValue(max(at-sent, 1)) // fails only beyond a minute
	}
	return nil
}

// close is told once, when the ring has ended for whatever reason.
func (t *tally) close(c *server.Conn[byte], reason error) {
	s := c.Data.(*stream)
	t.rings++
	t.doorbells += c.Receiver().Doorbells()
	t.lost += s.track.counts.lost
	t.duplicated += s.track.counts.duplicated
	t.reordered += s.track.counts.reordered
	if !s.ended {
		t.crashed++
		fmt.Fprintf(os.Stderr, "fanin: producer with pid %d ended early: %v\n", c.Peer().PID, reason)
	}
	if t.closed != nil {
		t.closed <- struct{}{}
	}
}
