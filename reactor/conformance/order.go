package conformance

import (
	"context"
	"io"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/sharedring"
)

// Several peers send more than their rings hold, all at the same time.
func testOrder(r *rig) {
	const items = 5000
	var peers sync.WaitGroup
	var sinks []*sink
	for i := range 4 {
		tx, rx := r.incoming(sharedring.WithHold(i % 2))
		s := r.sink(rx, 32)
		sinks = append(sinks, s)
		peers.Go(func() {
			r.send(tx, 0, items)
			rx.HangUp(nil)
		})
	}
	for _, s := range sinks {
		require.ErrorIs(r, s.ended(), io.EOF)
		require.EqualValues(r, items, s.next.Load())
	}
	peers.Wait()
}

// The same with peers that are processes, and end in good order.
func testOrderFromProcess(r *rig) {
	const items = 5000
	var sinks []*sink
	for range 2 {
		near, far := r.handles()
		s := r.sink(r.receiver(near), 32)
		sinks = append(sinks, s)
		r.start(sendRole, far, items).watch(s.rx.HangUp)
	}
	for _, s := range sinks {
		require.ErrorIs(r, s.ended(), io.EOF)
		require.EqualValues(r, items, s.next.Load())
	}
}

// The loop has the sending end, and is called again when there is room.
func testOrderOfSender(r *rig) {
	const items = 5000
	tx, rx := r.outgoing()
	next := uint64(0)
	reg := r.attach(tx, r.handler(func() error {
		for next < items {
			n, err := tx.Send([]uint64{next, next + 1, next + 2, next + 3})
			next += uint64(n)
			if n < 4 || err != nil {
				return err
			}
		}
		return nil
	}, nil))
	r.expect(rx, items)
	require.NoError(r, reg.Close())
}

// expect receives 0, ..., n-1, on the calling goroutine.
func (r *rig) expect(rx *sharedring.Receiver[uint64], n uint64) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	buf := make([]uint64, 21)
	for next := uint64(0); next < n; {
		got, err := rx.ReceiveContext(ctx, buf[:min(21, n-next)])
		require.NoError(r, err)
		for _, v := range buf[:got] {
			require.Equal(r, next, v)
			next++
		}
	}
}

// What comes on one ring goes out on another, whose peer is slow: the loop holds the
// first back until there is room in the second.
func testBackpressure(r *rig) {
	const items = 5000
	tx, in := r.incoming()
	out, rx := r.outgoing()
	var inReg, outReg Registration
	buf := make([]uint64, 32)
	var left []uint64 // received and not yet sent
	flush := func() error {
		n, err := out.Send(left)
		left = left[n:]
		return err
	}
	r.attachFirst(&inReg, in, r.handler(func() error {
		n, err := in.Receive(buf)
		if err != nil || n == 0 {
			return err
		}
		left = buf[:n]
		if err := flush(); err != nil || len(left) == 0 {
			return err
		}
		inReg.Pause()
		return outReg.Resume() // not its own turn
	}, nil))
	r.attachFirst(&outReg, out, r.handler(func() error {
		if len(left) == 0 {
			return nil
		}
		if err := flush(); err != nil || len(left) > 0 {
			return err
		}
		return inReg.Resume()
	}, nil))
	var peer sync.WaitGroup
	peer.Go(func() { r.send(tx, 0, items) })
	r.expect(rx, items)
	peer.Wait()
	require.NoError(r, inReg.Close())
	require.NoError(r, outReg.Close())
}

// Rings and posts, from all sides: the callbacks need no lock between them.
func testOneAtATime(r *rig) {
	const items = 1000
	total := 0 // no lock
	var peers sync.WaitGroup
	for range 3 {
		tx, rx := r.incoming()
		buf := make([]uint64, 7)
		r.attach(rx, r.handler(func() error {
			n, err := rx.Receive(buf)
			total += n
			return err
		}, func(error) {}))
		peers.Go(func() { r.send(tx, 0, items) })
		peers.Go(func() {
			for range items {
				r.post(func() { total++ })
			}
		})
	}
	peers.Wait()
	r.until("all of it", func() bool {
		var now int
		r.do(func() { now = total })
		return now == 6*items
	})
}

// More edges at a time than a program has room for in its call of epoll_wait.
func testManyAtOnce(r *rig) {
	type pair struct {
		tx *sharedring.Sender[uint64]
		s  *sink
	}
	var pairs []pair
	for range 100 {
		tx, rx := r.incoming()
		pairs = append(pairs, pair{tx, r.sink(rx, 1)})
	}
	r.rounds()
	for round := range uint64(3) {
		for _, p := range pairs {
			n, err := p.tx.Send([]uint64{2 * round, 2*round + 1})
			require.NoError(r, err)
			require.Equal(r, 2, n)
		}
		for _, p := range pairs {
			p.s.has(2*round + 2)
		}
	}
}
