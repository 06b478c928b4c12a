package waiting

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// turn is how many messages of a ring are taken at a time.
const turn = 64

// consumer is this process: the receivers of all rings, of which each block uses
// the first few.
type consumer struct {
	goroutines *consumer // for the arm without a loop; nil in that one itself

	peer      *proctest.Process
	receivers []*sharedring.Receiver[item]
	next      []uint64 // sequence numbers

	patience                    time.Duration // left
	blocks, disturbed, repeated int

	// Of the loop's goroutine while a block runs.
	buf       []item
	latencies *hdrhistogram.Histogram
	received  uint64
	target    uint64 // 0: not yet known
	done      chan error
}

func newConsumer(b *testing.B, rings int) *consumer {
	c := &consumer{
		next: make([]uint64, rings), buf: make([]item, turn),
		latencies: hdrhistogram.New(1, int64(time.Minute), 3),
	}
	var files []*os.File
	var handles []sharedring.Handle
	for range rings {
		h, err := sharedring.Create(capacity, 64)
		require.NoError(b, err)
		mine, err := h.Dup()
		require.NoError(b, err)
		handles = append(handles, mine)
		for _, fd := range []int{h.Memory, h.EmptySignal, h.FullSignal} {
			files = append(files, os.NewFile(uintptr(fd), "ring"))
		}
	}
	c.peer = proctest.Start(b, "producer", files, strconv.Itoa(rings))
	for _, f := range files {
		require.NoError(b, f.Close())
	}
	for _, h := range handles {
		rx, err := sharedring.OpenReceiver[item](h)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, rx.Close()) })
		c.receivers = append(c.receivers, rx)
	}
	return c
}

// block has the producer send for a while, and measures a loop that waits in one
// way.
func (c *consumer) block(b *testing.B, a arm, l load) sample {
	if a.wait == nil {
		return c.goroutines.blockOfGoroutines(b, l)
	}
	loop, err := reactor.NewLoop(a.opts...)
	require.NoError(b, err)
	c.latencies.Reset()
	c.received, c.target, c.done = 0, 0, make(chan error, l.rings+1)
	for i := range l.rings {
		_, err := loop.Attach(c.receivers[i], c.handler(i))
		require.NoError(b, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	waited := make(chan error, 1)
	go func() { waited <- a.wait(ctx, loop) }()
	settle(b, loop)

	ticks := readTicks(b)
	cpu, stats, start := usage(), loop.Stats(), time.Now()
	out := c.produce(b, l)
	c.drain(b, loop, out.messages)
	s := sample{messages: out.messages, doorbells: out.doorbells, producer: out.cpu, elapsed: time.Since(start)}
	s.waits = loop.Stats().Waits - stats.Waits
	after := usage()
	s.cpu, s.switches = after.cpu-cpu.cpu, after.switches-cpu.switches
	s.disturbance = disturbance(b, ticks, s)

	require.NoError(b, loop.Post(cancel))
	require.NoError(b, <-waited)
	require.NoError(b, loop.Close())
	s.p50, s.p99 = c.latencies.ValueAtQuantile(50), c.latencies.ValueAtQuantile(99)
	return s
}

// handler checks that every message comes once and in order.
func (c *consumer) handler(ring int) reactor.Handler {
	rx := c.receivers[ring]
	return reactor.Handler{
		Ready: func(reactor.Event) error {
			n, err := rx.Receive(c.buf)
			if n == 0 || err != nil {
				return err
			}
			return c.take(ring, c.buf[:n])
		},
		Closed: func(err error) {
			if !errors.Is(err, reactor.ErrClosed) {
				c.done <- err
			}
		},
	}
}

// take checks messages of one ring.
func (c *consumer) take(ring int, messages []item) error {
	at := now()
	for _, m := range messages {
		if m.Sequence != c.next[ring] {
			return fmt.Errorf("ring %d: message %d in place of %d", ring, m.Sequence, c.next[ring])
		}
		c.next[ring]++
		if m.Due != 0 {
			_ = c.latencies.RecordValue(max(at-m.Due, 1)) // fails only beyond a minute
		}
	}
	c.received += uint64(len(messages))
	c.check()
	return nil
}

// blockOfGoroutines is block without a loop: a goroutine for each ring waits in
// ReceiveContext. They share the books under a lock, which a loop needs not.
func (c *consumer) blockOfGoroutines(b *testing.B, l load) sample {
	c.latencies.Reset()
	c.received, c.target, c.done = 0, 0, make(chan error, l.rings+1)
	ctx, cancel := context.WithCancel(context.Background())
	var books sync.Mutex
	var all sync.WaitGroup
	for i := range l.rings {
		all.Go(func() {
			buf := make([]item, turn)
			for {
				n, err := c.receivers[i].ReceiveContext(ctx, buf)
				if errors.Is(err, context.Canceled) {
					return
				}
				books.Lock()
				if err == nil {
					err = c.take(i, buf[:n])
				}
				books.Unlock()
				if err != nil {
					c.done <- err
					return
				}
			}
		})
	}
	ticks := readTicks(b)
	cpu, start := usage(), time.Now()
	out := c.produce(b, l)
	books.Lock()
	c.target = out.messages
	c.check()
	books.Unlock()
	c.await(b)
	s := sample{messages: out.messages, doorbells: out.doorbells, producer: out.cpu, elapsed: time.Since(start)}
	after := usage()
	s.cpu, s.switches = after.cpu-cpu.cpu, after.switches-cpu.switches
	s.disturbance = disturbance(b, ticks, s)
	cancel()
	all.Wait()
	s.p50, s.p99 = c.latencies.ValueAtQuantile(50), c.latencies.ValueAtQuantile(99)
	return s
}

// check tells the benchmark when all is here.
func (c *consumer) check() {
	if c.target > 0 && c.received == c.target {
		c.done <- nil
	}
}

// settle returns when every ring had its first turn and the loop is about to sleep.
func settle(b *testing.B, l *reactor.Loop) {
	done := make(chan bool)
	require.NoError(b, l.Post(func() { // runs before the turns that are due
		if err := l.Post(func() { close(done) }); err != nil {
			b.Error(err)
			close(done)
		}
	}))
	<-done
}

func (c *consumer) produce(b *testing.B, l load) (s sent) {
	_, err := fmt.Fprintln(c.peer.Stdin, l.rings, l.rate, int64(l.duration))
	require.NoError(b, err)
	_, err = fmt.Fscanln(c.peer.Stdout, &s.messages, &s.doorbells, (*int64)(&s.cpu))
	require.NoError(b, err)
	require.NotZero(b, s.messages)
	return s
}

// drain waits until all that was sent is here.
func (c *consumer) drain(b *testing.B, l *reactor.Loop, messages uint64) {
	require.NoError(b, l.Post(func() {
		c.target = messages
		c.check()
	}))
	c.await(b)
}

// await waits until check said that all is here.
func (c *consumer) await(b *testing.B) {
	select {
	case err := <-c.done:
		require.NoError(b, err)
	case <-time.After(30 * time.Second): // not a measure: a lost wake-up must not hang the run
		b.Fatal("messages were lost, or a wake-up")
	}
}
