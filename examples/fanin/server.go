package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

// turn is how many records one ring may deliver before the next ring's turn.
const turn = 256

// server receives from all rings on one loop. Fields below the line belong to the
// loop's goroutine.
type server struct {
	loop     *reactor.Loop
	messages atomic.Uint64 // for the live line
	bytes    atomic.Uint64

	open      int
	idle      *sync.Cond
	total     tally
	latencies *hdrhistogram.Histogram
}

// client is one ring and the lifeline of its producer.
type client struct {
	server   *server
	conn     *handoff.Conn
	rx       *sharedring.Receiver[byte]
	frames   *sharedring.FrameReceiver
	lifeline []*reactor.Registration
	track    track
	ended    bool // the last record came
}

// tally is what all rings together delivered.
type tally struct {
	rings     int
	crashed   int
	doorbells uint64
	counts
}

// serve runs the server until producers returns, or without producers until ctx or
// the duration ends, and then reports.
func serve(ctx context.Context, s settings, path string, producers func() error) error {
	listener, err := handoff.Listen(path, handoff.Config{})
	if err != nil {
		return err
	}
	defer listener.Close()
	loop, err := reactor.NewLoop()
	if err != nil {
		return err
	}
	defer loop.Close()
	srv := &server{loop: loop, idle: sync.NewCond(new(sync.Mutex)), latencies: hdrhistogram.New(1, int64(time.Minute), 3)}
	loopDone := make(chan error, 1)
	go func() { loopDone <- loop.Run(context.Background()) }()

	start := time.Now()
	stopLive := live(os.Stderr, srv, start)
	if producers != nil {
		err = srv.serveOwn(ctx, listener, s.rings, producers)
	} else {
		fmt.Fprintf(os.Stderr, "fanin: serving at %s; Ctrl-C ends it\n", path)
		err = srv.serveOthers(ctx, listener, s.duration)
	}
	elapsed := time.Since(start)
	stopLive()
	err = errors.Join(err, loop.Close()) // ends what is still connected
	if loopErr := <-loopDone; !errors.Is(loopErr, reactor.ErrClosed) {
		err = errors.Join(err, loopErr)
	}
	return errors.Join(err, srv.report(s, elapsed))
}

// serveOwn serves the rings of our own producers, all of them to the end.
func (s *server) serveOwn(ctx context.Context, l *handoff.Listener, rings int, producers func() error) error {
	accepting, stop := context.WithCancel(context.Background())
	defer stop()
	accepted := make(chan error, 1)
	go func() { accepted <- s.accept(accepting, l, rings) }()
	err := producers()
	if err != nil || ctx.Err() != nil {
		stop() // not all of them came
	}
	err = errors.Join(err, <-accepted)
	s.awaitClients()
	return err
}

// serveOthers serves whoever comes until the time is over.
func (s *server) serveOthers(ctx context.Context, l *handoff.Listener, d time.Duration) error {
	if d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	return s.accept(ctx, l, -1)
}

// accept takes rings in until there are that many (-1: no end) or ctx ends.
func (s *server) accept(ctx context.Context, l *handoff.Listener, rings int) error {
	for ; rings != 0; rings-- {
		conn, err := l.Accept(ctx)
		if ctx.Err() != nil {
			if conn != nil {
				return conn.Close()
			}
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.admit(conn); err != nil {
			fmt.Fprintf(os.Stderr, "fanin: producer with pid %d: %v\n", conn.Peer().PID, err)
			conn.Close()
		}
	}
	return nil
}

func (s *server) admit(conn *handoff.Conn) error {
	h, err := conn.In()
	if err != nil {
		return err
	}
	rx, err := sharedring.OpenReceiver[byte](h)
	if err != nil {
		return err
	}
	c := &client{server: s, conn: conn, rx: rx, frames: sharedring.NewFrameReceiver(rx, recordHeader+maxSize)}
	s.idle.L.Lock()
	s.open++
	s.idle.L.Unlock()
	return s.loop.Post(func() { c.attach() })
}

// attach registers the ring, and beside it what tells of the producer's end.
func (c *client) attach() {
	_, err := c.server.loop.Attach(c.rx, reactor.Handler{Ready: c.receive, Closed: c.close})
	if err != nil {
		c.close(err)
		return
	}
	for _, fd := range []int{c.conn.FD(), c.conn.PidFD()} {
		if fd < 0 {
			continue
		}
		r, err := c.server.loop.Register(fd, reactor.Readable|reactor.EdgeTriggered, reactor.Handler{Ready: c.checkPeer})
		if err != nil {
			c.rx.HangUp(err)
			return
		}
		c.lifeline = append(c.lifeline, r)
	}
}

// checkPeer tells the ring that its producer is gone; the loop then drains it and
// meets the end.
func (c *client) checkPeer(reactor.Event) error {
	if ended, err := c.conn.Check(); ended {
		c.rx.HangUp(err)
	}
	return nil
}

// receive is one turn of one ring.
func (c *client) receive(reactor.Event) error {
	s, at := c.server, now()
	messages, bytes := uint64(0), uint64(0)
	defer func() {
		s.messages.Add(messages)
		s.bytes.Add(bytes)
	}()
	for range turn {
		frame, ok, err := c.frames.Next()
		if err != nil || !ok {
			return err
		}
		sequence, sent, payload, err := parseRecord(frame)
		if err != nil {
			return err
		}
		if sent == endTime {
			c.ended = true
			c.track.skipTo(sequence)
			s.total.doorbells += binary.NativeEndian.Uint64(payload)
			continue
		}
		c.track.see(sequence)
		messages++
		bytes += uint64(len(frame))
		_ = s.latencies.RecordValue(max(at-sent, 1)) // fails only beyond a minute
	}
	return nil
}

// close is told once, when the ring has ended for whatever reason.
func (c *client) close(reason error) {
	s := c.server
	for _, r := range c.lifeline {
		_ = r.Close()
	}
	s.total.rings++
	s.total.doorbells += c.rx.Doorbells()
	s.total.lost += c.track.counts.lost
	s.total.duplicated += c.track.counts.duplicated
	s.total.reordered += c.track.counts.reordered
	if !c.ended {
		s.total.crashed++
		if !errors.Is(reason, io.EOF) {
			fmt.Fprintf(os.Stderr, "fanin: producer with pid %d ended early: %v\n", c.conn.Peer().PID, reason)
		}
	}
	_ = c.rx.Close()
	_ = c.conn.Close()
	s.idle.L.Lock()
	s.open--
	s.idle.L.Unlock()
	s.idle.Broadcast()
}

// awaitClients waits until every ring has ended.
func (s *server) awaitClients() {
	s.idle.L.Lock()
	defer s.idle.L.Unlock()
	for s.open > 0 {
		s.idle.Wait()
	}
}
