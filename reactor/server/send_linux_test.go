package server

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

// outgoing is a connection to a client in this process that receives.
func outgoing(t *testing.T, o Outbound, ready func(c *Conn[uint64]) error) (*running, *Conn[uint64], *client) {
	conns := make(chan *Conn[uint64], 1)
	if ready == nil {
		ready = func(*Conn[uint64]) error { return nil }
	}
	r := start(t, Handler[uint64]{
		Open: func(c *Conn[uint64]) error {
			c.SetOutbound(o)
			conns <- c
			return nil
		},
		Ready: ready,
	}, Config{Loops: 1, Sweep: -1})
	client := r.dial(handoff.In, 16)
	c := await(t, conns)
	c.do(t, func() {}) // registered
	return r, c, client
}

func numbers(from, to int) []uint64 {
	var v []uint64
	for ; from < to; from++ {
		v = append(v, uint64(from))
	}
	return v
}

func TestRefuseLosesNothing(t *testing.T) {
	ready := make(chan bool, 100)
	r, c, client := outgoing(t, Refuse, func(*Conn[uint64]) error {
		ready <- true
		return nil
	})
	await(t, ready) // the one at the beginning
	length := client.rx.Len()
	n, err := c.Send(context.Background(), numbers(0, length+10))
	require.ErrorIs(t, err, ErrFull)
	require.Equal(t, length, n)
	n, err = c.Send(context.Background(), numbers(length, length+10))
	require.ErrorIs(t, err, ErrFull)
	require.Zero(t, n)
	c.do(t, func() {})
	require.Empty(t, ready, "no room, no Ready")
	require.NoError(t, client.receiveUpTo(testContext(t), 0, length))
	_, err = client.rx.Arm()
	require.NoError(t, err)
	await(t, ready)
	for range 3 {
		c.do(t, func() {})
	}
	require.LessOrEqual(t, len(ready), 1, "a Ready that sends nothing is not called for ever")
	n, err = c.Send(context.Background(), numbers(length, length+10))
	require.NoError(t, err)
	require.Equal(t, 10, n)
	require.NoError(t, client.receiveUpTo(testContext(t), length, length+10))
	require.Zero(t, c.Dropped())
	require.EqualValues(t, length+10, r.Stats().Items)
}

func TestDropNewestCounts(t *testing.T) {
	r, c, client := outgoing(t, DropNewest, nil)
	length := client.rx.Len()
	n, err := c.Send(context.Background(), numbers(0, length+7))
	require.NoError(t, err)
	require.Equal(t, length, n)
	require.EqualValues(t, 7, c.Dropped())
	require.EqualValues(t, 7, r.Stats().Dropped)
	require.NoError(t, client.receiveUpTo(testContext(t), 0, length), "the oldest are there")
}

func TestBlockSendsAll(t *testing.T) {
	const callers, each = 3, 5000
	_, c, client := outgoing(t, Block, nil)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			n, err := c.Send(testContext(t), numbers(i*each, (i+1)*each))
			if n != each || err != nil {
				t.Error(n, err)
			}
		})
	}
	first := make([]uint64, 1)
	for range callers {
		_, err := client.rx.ReceiveContext(testContext(t), first)
		require.NoError(t, err)
		require.Zero(t, first[0]%each, "the items of one call stay together")
		require.NoError(t, client.receiveUpTo(testContext(t), int(first[0])+1, int(first[0])+each))
	}
	all.Wait()
}

func TestBlockEndsWithContextPeerAndConnection(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(c *Conn[uint64], client *client, cancel func())
		want error
	}{
		"context":    {func(_ *Conn[uint64], _ *client, cancel func()) { cancel() }, context.Canceled},
		"client":     {func(_ *Conn[uint64], client *client, _ func()) { _ = client.Close() }, sharedring.ErrPeerGone},
		"connection": {func(c *Conn[uint64], _ *client, _ func()) { _ = c.Close() }, sharedring.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			_, c, client := outgoing(t, Block, nil)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			length := client.rx.Len()
			errs := make(chan error, 2)
			for range 2 { // one waits for room, one for its turn
				go func() {
					_, err := c.Send(ctx, numbers(0, length+1))
					errs <- err
				}()
			}
			until(t, func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.room != nil
			})
			test.end(c, client, cancel)
			for range 2 {
				err := await(t, errs)
				if name == "client" && errors.Is(err, sharedring.ErrClosed) {
					continue // the connection is closed by then
				}
				require.ErrorIs(t, err, test.want)
			}
		})
	}
}

func TestBlockOnTheLoopIsAnError(t *testing.T) {
	_, c, client := outgoing(t, Block, nil)
	length := client.rx.Len()
	c.do(t, func() {
		n, err := c.Send(context.Background(), numbers(0, length))
		require.NoError(t, err, "what fits is welcome")
		require.Equal(t, length, n)
		n, err = c.Send(context.Background(), numbers(length, length+1))
		require.ErrorIs(t, err, ErrOnLoop)
		require.Zero(t, n)
	})
	require.NoError(t, client.receiveUpTo(testContext(t), 0, length))
}

// The damage is told even if the one who sends looks away.
func TestCorruptCountOfAClientThatReceives(t *testing.T) {
	conns := make(chan *Conn[uint64], 1)
	r := start(t, Handler[uint64]{
		Open: func(c *Conn[uint64]) error {
			conns <- c
			return nil
		},
		Ready: func(*Conn[uint64]) error { return nil },
	}, Config{})
	conn, err := handoff.Dial(testContext(t), r.path, handoff.Request{ItemSize: 8, Capacity: 16, Direction: handoff.In})
	require.NoError(t, err)
	defer conn.Close()
	h, err := conn.In()
	require.NoError(t, err)
	again, err := h.Dup()
	require.NoError(t, err)
	defer unix.Close(again.EmptySignal)
	defer unix.Close(again.FullSignal)
	require.NoError(t, h.Close())
	f, err := memfd.Open(again.Memory)
	require.NoError(t, err)
	defer f.Close()
	m, err := f.Map(int(f.Size()))
	require.NoError(t, err)
	defer m.Close()
	c := await(t, conns)
	c.do(t, func() {}) // opened: a new ring with a count would be refused
	binary.NativeEndian.PutUint64(m.Bytes(), 1<<40)
	_, err = c.Send(context.Background(), []uint64{1})
	require.ErrorIs(t, err, ringbuf.ErrCorrupt)
	require.ErrorIs(t, r.closed(), ringbuf.ErrCorrupt)
	require.EqualValues(t, 1, r.Stats().Poisoned)
}

func TestOutboundString(t *testing.T) {
	require.Equal(t, "refuse, drop newest, block, outbound policy 9",
		Refuse.String()+", "+DropNewest.String()+", "+Block.String()+", "+Outbound(9).String())
}
