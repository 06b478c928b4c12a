package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"expvar"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

func TestClientSends(t *testing.T) {
	r := start(t, sink(), Config{})
	p := r.role("send", "10000")
	line(t, p, "sent")
	require.NoError(t, p.Stdin.Close())
	end := await(t, r.closes)
	require.NoError(t, end.err)
	require.Equal(t, 10000, end.received())
	require.Nil(t, end.conn.Sender())
	require.Equal(t, int32(p.Pid()), end.conn.Peer().PID)
	require.Equal(t, handoff.Request{ItemSize: 8, Capacity: 128, Direction: handoff.Out}, end.conn.Request())
	_, err := end.conn.Send(context.Background(), []uint64{1})
	require.ErrorIs(t, err, handoff.ErrNoRing)
	require.EqualValues(t, 10000, r.Stats().Items)
	require.NoError(t, p.Wait())
}

func TestClientReceives(t *testing.T) {
	const n = 10000
	next := uint64(0)
	r := start(t, Handler[uint64]{Ready: func(c *Conn[uint64]) error {
		require.Nil(t, c.Receiver())
		for next < n {
			if _, err := c.Send(context.Background(), []uint64{next}); errors.Is(err, ErrFull) {
				return nil // called again when there is room
			} else if err != nil {
				return err
			}
			next++
		}
		return nil
	}}, Config{Loops: 1})
	require.NoError(t, r.role("receive", "10000").Wait())
	end := await(t, r.closes)
	require.NoError(t, end.err)
	_, err := end.conn.Receive(make([]uint64, 1))
	require.ErrorIs(t, err, handoff.ErrNoRing)
	require.EqualValues(t, n, r.Stats().Items)
}

// echo answers in place. When there is no room for answers it takes no requests.
func echo(c *Conn[uint64]) error {
	for {
		view, err := c.Receiver().Peek()
		if len(view) == 0 || err != nil {
			return err
		}
		n, err := c.Sender().Send(view)
		if err != nil {
			return err
		}
		if err := c.Receiver().Discard(n); err != nil {
			return err
		}
		if n < len(view) {
			c.Pause()
			return nil
		}
		c.Resume()
	}
}

func TestDuplexEcho(t *testing.T) {
	r := start(t, Handler[uint64]{Ready: echo}, Config{Sweep: -1})
	var clients []*proctest.Process
	for range 3 {
		clients = append(clients, r.role("echo", "20000"))
	}
	for _, p := range clients {
		require.NoError(t, p.Wait())
		require.NoError(t, r.closed())
	}
}

// The client that is gone while its answers do not fit must not be forgotten.
func TestClientEndsWhilePausedForRoom(t *testing.T) {
	paused := make(chan bool, 100)
	r := start(t, Handler[uint64]{Ready: func(c *Conn[uint64]) error {
		err := echo(c)
		if c.isPaused() {
			paused <- true
		}
		return err
	}}, Config{})
	c := r.dial(handoff.Duplex, 16)
	require.NoError(t, c.sendUpTo(testContext(t), 0, c.rx.Len()+10))
	await(t, paused)
	require.NoError(t, c.end())
	require.NoError(t, r.closed())
}

func TestManyClients(t *testing.T) {
	const processes, each = 2, 100
	r := start(t, sink(), Config{Loops: 2})
	before := proctest.Take()
	var all []*proctest.Process
	for range processes {
		all = append(all, r.role("many", "100"))
	}
	until(t, func() bool { return r.Stats().Open == processes*each })
	for _, p := range all {
		require.NoError(t, p.Stdin.Close())
	}
	for range processes * each {
		end := await(t, r.closes)
		require.NoError(t, end.err)
		require.Equal(t, 10, end.received())
	}
	for _, p := range all {
		require.NoError(t, p.Wait())
	}
	st := r.Stats()
	require.EqualValues(t, processes*each, st.Opened)
	require.EqualValues(t, processes*each, st.Clean)
	require.EqualValues(t, processes*each*10, st.Items)
	// The last callback comes before its descriptors are closed: wait for it.
	require.NoError(t, r.Shutdown(testContext(t)))
	after := proctest.Take()
	require.LessOrEqual(t, after.Mappings, before.Mappings)
}

func TestConnectionsAreSpread(t *testing.T) {
	opened := make(chan *reactor.Loop, 8)
	h := sink()
	open := h.Open
	h.Open = func(c *Conn[uint64]) error {
		opened <- c.Loop()
		return open(c)
	}
	r := start(t, h, Config{Loops: 2})
	count := map[*reactor.Loop]int{}
	for range 8 {
		r.dial(handoff.Out, 4)
		count[await(t, opened)]++
	}
	require.Len(t, count, 2)
	for _, n := range count {
		require.Equal(t, 4, n)
	}
}

func TestFault43SenderKilled(t *testing.T) {
	r := start(t, sink(), Config{})
	p := r.role("send", "1000")
	line(t, p, "sent")
	require.NoError(t, p.Kill())
	end := await(t, r.closes)
	require.ErrorIs(t, end.err, sharedring.ErrPeerGone)
	require.Equal(t, 1000, end.received(), "what was sent before the death counts")
	require.EqualValues(t, 1, r.Stats().Crashed)
}

func TestReceivingClientKilled(t *testing.T) {
	r := start(t, Handler[uint64]{Ready: func(*Conn[uint64]) error { return nil }}, Config{})
	p := r.role("receive", "1000") // gets none
	until(t, func() bool { return r.Stats().Opened == 1 })
	require.NoError(t, p.Kill())
	require.ErrorIs(t, r.closed(), sharedring.ErrPeerGone)
}

func TestCorruptCountCostsOneRing(t *testing.T) {
	r := start(t, sink(), Config{Loops: 1})
	good := r.dial(handoff.Out, 16)
	bad := r.role("corrupt", "0")
	until(t, func() bool { return r.Stats().Items == 1 })
	say(t, bad)
	require.ErrorIs(t, r.closed(), ringbuf.ErrCorrupt)
	require.NoError(t, good.sendUpTo(testContext(t), 0, 1000))
	require.NoError(t, good.end())
	end := await(t, r.closes)
	require.NoError(t, end.err)
	require.Equal(t, 1000, end.received())
	require.EqualValues(t, 1, r.Stats().Poisoned)
}

func TestWrongItemSizeIsRefused(t *testing.T) {
	var log bytes.Buffer
	h := sink()
	h.Open = func(*Conn[uint64]) error {
		t.Error("Open was called")
		return nil
	}
	r := start(t, h, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	conn, err := handoff.Dial(testContext(t), r.path, handoff.Request{ItemSize: 4, Capacity: 16, Direction: handoff.Duplex})
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.Wait(testContext(t)), "closed at once")
	require.NoError(t, r.Shutdown(testContext(t)))
	require.EqualValues(t, 1, r.Stats().Refused)
	require.Contains(t, log.String(), "items have 4 bytes, not 8")
}

func TestOpenRefuses(t *testing.T) {
	for name, open := range map[string]func(*Conn[uint64]) error{
		"error": func(c *Conn[uint64]) error {
			_ = c.Close() // on its way, and too late
			return errors.New("not today")
		},
		"panic": func(*Conn[uint64]) error { panic("a bug") },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, Handler[uint64]{Open: open, Ready: func(*Conn[uint64]) error {
				t.Error("Ready was called")
				return nil
			}}, Config{})
			c := r.dial(handoff.Duplex, 16)
			require.NoError(t, c.Wait(testContext(t)))
			require.NoError(t, r.Shutdown(testContext(t)))
			require.Empty(t, r.closes)
			st := r.Stats()
			require.EqualValues(t, 1, st.Refused)
			require.Zero(t, st.Opened)
		})
	}
}

func TestHandlerErrorAndPanicEndOneConnection(t *testing.T) {
	oops := errors.New("oops")
	for name, ready := range map[string]func() error{
		"error": func() error { return oops },
		"panic": func() error { panic(oops) },
	} {
		t.Run(name, func(t *testing.T) {
			h := sink()
			receive := h.Ready
			h.Ready = func(c *Conn[uint64]) error {
				if c.Request().Capacity == 13 {
					return ready()
				}
				return receive(c)
			}
			h.Close = func(*Conn[uint64], error) { panic("another") }
			r := start(t, h, Config{Loops: 1})
			good := r.dial(handoff.Out, 16)
			bad := r.dial(handoff.Out, 13)
			require.ErrorIs(t, r.closed(), oops)
			require.NoError(t, bad.Wait(testContext(t)), "its connection is closed")
			require.NoError(t, good.sendUpTo(testContext(t), 0, 100))
			require.NoError(t, good.end())
			require.NoError(t, r.closed())
			require.EqualValues(t, 1, r.Stats().Failed)
		})
	}
}

func TestCloseFromAnyGoroutine(t *testing.T) {
	conns := make(chan *Conn[uint64], 1)
	r := start(t, Handler[uint64]{
		Open: func(c *Conn[uint64]) error {
			conns <- c
			return nil
		},
		Ready: func(c *Conn[uint64]) error {
			_, err := c.Receive(make([]uint64, 1))
			return err
		},
		Close: func(c *Conn[uint64], _ error) {
			_, _ = c.Send(context.Background(), []uint64{0, 1, 2}) // a last word
		},
	}, Config{})
	client := r.dial(handoff.Duplex, 16)
	c := await(t, conns)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.ErrorIs(t, r.closed(), ErrClosed)
	require.NoError(t, client.Wait(testContext(t)))
	client.rx.HangUp(nil)
	require.NoError(t, client.receiveUpTo(testContext(t), 0, 3))
	_, err := client.rx.Receive(make([]uint64, 1))
	require.ErrorIs(t, err, io.EOF)
	require.EqualValues(t, 1, r.Stats().Closed)

	require.NoError(t, c.Close(), "again")
	c.Pause()
	c.Resume()
	_, err = c.Send(context.Background(), []uint64{1})
	require.ErrorIs(t, err, sharedring.ErrClosed)
}

func TestPauseHoldsBackUntilResume(t *testing.T) {
	conns := make(chan *Conn[uint64], 1)
	h := sink()
	open := h.Open
	h.Open = func(c *Conn[uint64]) error {
		c.Pause()
		conns <- c
		return open(c)
	}
	r := start(t, h, Config{Loops: 1})
	client := r.dial(handoff.Out, 16)
	c := await(t, conns)
	n, err := client.fill()
	require.NoError(t, err)
	require.NoError(t, client.end())
	for range 3 {
		c.do(t, func() { require.Zero(t, *c.Data.(*uint64)) })
	}
	require.Empty(t, r.closes, "a paused ring with items is not closed")
	c.Resume()
	end := await(t, r.closes)
	require.NoError(t, end.err)
	require.Equal(t, n, end.received())
}

func TestPausedAndEmptyEndsWithItsClient(t *testing.T) {
	h := sink()
	open := h.Open
	h.Open = func(c *Conn[uint64]) error {
		c.Pause()
		return open(c)
	}
	r := start(t, h, Config{})
	require.NoError(t, r.dial(handoff.Out, 16).end())
	require.NoError(t, r.closed())
}

// A Ready that does not look at errors must not be called for ever.
func TestEndIsNotLeftToReady(t *testing.T) {
	r := start(t, Handler[uint64]{Ready: func(c *Conn[uint64]) error {
		_, _ = c.Receive(make([]uint64, 10))
		return nil
	}}, Config{})
	p := r.role("send", "1000")
	line(t, p, "sent")
	require.NoError(t, p.Kill())
	require.ErrorIs(t, r.closed(), sharedring.ErrPeerGone)
	p = r.role("send", "1000")
	require.NoError(t, p.Stdin.Close())
	require.NoError(t, r.closed())
	require.NoError(t, p.Wait())
}

func TestServeEndsWithItsContext(t *testing.T) {
	r := start(t, Handler[uint64]{Ready: func(*Conn[uint64]) error { return nil }}, Config{})
	out, in, duplex := r.dial(handoff.Out, 16), r.dial(handoff.In, 16), r.dial(handoff.Duplex, 16)
	until(t, func() bool { return r.Stats().Opened == 3 })
	r.cancel()
	require.NoError(t, await(t, r.served))
	for range 3 {
		require.ErrorIs(t, r.closed(), ErrClosed)
	}
	for _, c := range []*client{out, in, duplex} {
		require.NoError(t, c.Wait(testContext(t)))
	}
	require.ErrorIs(t, r.Serve(context.Background(), r.path), ErrClosed, "only once")
	require.ErrorIs(t, r.Shutdown(context.Background()), ErrClosed)
	_, err := handoff.Dial(testContext(t), r.path, handoff.Request{ItemSize: 8, Capacity: 16, Direction: handoff.Out})
	require.Error(t, err)
}

func TestServeThatCannotBegin(t *testing.T) {
	before := proctest.Take()
	s, err := New(sink(), Config{})
	require.NoError(t, err)
	require.Error(t, s.Serve(context.Background(), "/no such folder/s"))
	require.Equal(t, before.FDs, proctest.Take().FDs)
	require.NoError(t, s.Shutdown(context.Background()))
	require.ErrorIs(t, s.Serve(context.Background(), "@server-test"), ErrClosed)
}

func TestNewRefuses(t *testing.T) {
	_, err := New(Handler[uint64]{}, Config{})
	require.ErrorIs(t, err, ErrInvalid)
	_, err = New(Handler[bool]{Ready: func(*Conn[bool]) error { return nil }}, Config{})
	require.ErrorIs(t, err, ringbuf.ErrItemType)
}

func TestShutdownDrains(t *testing.T) {
	// The callbacks are held while the ring is filled and Shutdown begins.
	hold, entered := make(chan bool), make(chan bool, 1)
	var once sync.Once
	h := sink()
	receive := h.Ready
	h.Ready = func(c *Conn[uint64]) error {
		once.Do(func() {
			entered <- true
			<-hold
		})
		return receive(c)
	}
	r := start(t, h, Config{Loops: 1})
	client := r.dial(handoff.Out, 1000)
	await(t, entered)
	n, err := client.fill()
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, 1000)
	done := make(chan error)
	go func() { done <- r.Shutdown(testContext(t)) }()
	until(t, func() bool { // it has stopped accepting
		conn, err := handoff.Dial(testContext(t), r.path, handoff.Request{ItemSize: 8, Capacity: 1, Direction: handoff.Out})
		return err != nil || conn.Close() != nil
	})
	close(hold)
	require.NoError(t, await(t, done))
	require.NoError(t, await(t, r.served))
	end := await(t, r.closes)
	for end.conn.Request().Capacity == 1 {
		end = await(t, r.closes) // one that asked whether it has
	}
	require.NoError(t, end.err)
	require.Equal(t, n, end.received())
	require.NoError(t, client.Wait(testContext(t)))
}

// Requests that came before Shutdown are answered.
func TestShutdownAnswers(t *testing.T) {
	r := start(t, Handler[uint64]{Ready: echo}, Config{Loops: 1})
	client := r.dial(handoff.Duplex, 100)
	require.NoError(t, client.sendUpTo(testContext(t), 0, 100))
	until(t, func() bool { return r.Stats().Opened == 1 })
	require.NoError(t, r.Shutdown(testContext(t)))
	require.NoError(t, client.Wait(testContext(t)))
	require.NoError(t, client.receiveUpTo(testContext(t), 0, 100))
	require.NoError(t, r.closed())
}

func TestShutdownDeadline(t *testing.T) {
	opened := make(chan bool, 1)
	r := start(t, Handler[uint64]{
		Open: func(c *Conn[uint64]) error {
			c.Pause() // and no Resume: it never drains
			opened <- true
			return nil
		},
		Ready: func(*Conn[uint64]) error { return nil },
	}, Config{})
	client := r.dial(handoff.Out, 16)
	require.NoError(t, client.sendUpTo(testContext(t), 0, 1))
	await(t, opened)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, r.Shutdown(ctx), context.Canceled)
	require.NoError(t, await(t, r.served))
	require.ErrorIs(t, r.closed(), ErrClosed)
}

func TestSweepFault46(t *testing.T) {
	for name, cfg := range map[string]Config{
		"on":  {Loops: 1, Sweep: 1}, // as often as it can
		"off": {Loops: 1, Sweep: -1},
	} {
		t.Run(name, func(t *testing.T) {
			var got atomic.Int64
			first, all := make(chan *Conn[uint64], 1), make(chan bool, 1)
			h := sink()
			receive := h.Ready
			h.Ready = func(c *Conn[uint64]) error {
				err := receive(c)
				switch now := int64(*c.Data.(*uint64)); {
				case now == 1 && got.Swap(1) == 0:
					first <- c
				case now == 5 && got.Swap(5) != 5:
					all <- true
				}
				return err
			}
			r := start(t, h, cfg)
			p := r.role("silent", "5")
			c := await(t, first)
			until(t, func() (asleep bool) {
				c.do(t, func() { asleep = c.idle })
				return asleep
			})
			say(t, p)
			line(t, p, "sent")
			if cfg.Sweep > 0 {
				await(t, all)
				require.NotZero(t, r.Stats().Swept)
			} else {
				for range 3 {
					c.do(t, func() { require.Nil(t, c.home.timer) })
				}
				require.EqualValues(t, 1, got.Load())
				say(t, p) // its doorbell
				await(t, all)
				require.Zero(t, r.Stats().Swept)
			}
			require.NoError(t, p.Kill())
			require.Error(t, r.closed())
		})
	}
}

func TestSweepStopsWithoutConnections(t *testing.T) {
	r := start(t, sink(), Config{Loops: 1, Sweep: 1})
	client := r.dial(handoff.Out, 16)
	require.NoError(t, client.end())
	c := await(t, r.closes).conn
	until(t, func() (stopped bool) {
		c.do(t, func() { stopped = !c.home.sweeping })
		return stopped
	})
	c.do(t, func() { require.Empty(t, c.home.conns) })
	require.NoError(t, r.dial(handoff.Out, 16).end())
	require.NoError(t, r.closed(), "and begins again")
}

func TestSweepIsShared(t *testing.T) {
	h := &home[uint64]{}
	l, err := reactor.NewLoop()
	require.NoError(t, err)
	defer l.Close()
	h.loop, h.period = l, -1
	h.conns = make([]*Conn[uint64], 2*sweepBatch+1)
	for i := range h.conns {
		h.conns[i] = new(Conn[uint64])
	}
	h.sweep(0)
	for range 2 {
		n, err := l.Poll(0)
		require.NoError(t, err)
		require.Equal(t, 1, n, "one batch, then the others' turn")
	}
	n, err := l.Poll(0)
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestStatsAsJSON(t *testing.T) {
	r := start(t, sink(), Config{})
	var got, again Stats
	require.NoError(t, json.Unmarshal([]byte(r.Stats().String()), &got))
	f := expvar.Func(func() any { return r.Stats() })
	require.NoError(t, json.Unmarshal([]byte(f.String()), &again))
	require.Equal(t, got.Opened, again.Opened)
	require.True(t, strings.HasPrefix(f.String(), `{"Open":0,`))
}
