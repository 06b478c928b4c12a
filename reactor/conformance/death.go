package conformance

import (
	"errors"
	"io"
	"math"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

// A peer writes what cannot be where the number of items belongs: its ring is ended,
// once, and the others go on.
func testPoison(r *rig) {
	goOn := r.others()
	for _, least := range []uint64{math.MaxUint64, 1 << 63, 0} {
		near, far := r.handles()
		s := r.sink(r.receiver(near), 8)
		garbage := max(least, uint64(s.rx.Len()+1))
		p := r.start(vandalRole, far, garbage)
		p.says("sent")
		s.has(1)
		p.answer()
		p.says("written")
		require.ErrorIs(r, s.ended(), ringbuf.ErrCorrupt)
		require.EqualValues(r, 1, s.next.Load())
		goOn()
		p.kill()
	}
}

// What is in the ring when the peer says farewell is received before the end is told.
func testCleanEnd(r *rig) {
	tx, rx := r.incoming()
	s := r.newSink(rx, 1)
	r.send(tx, 0, 200)
	r.noError(tx.Close())
	rx.HangUp(nil)
	r.attach(rx, r.handler(s.ready, s.closed))
	require.ErrorIs(r, s.ended(), io.EOF)
	require.EqualValues(r, 200, s.next.Load())

	out, peer := r.outgoing()
	end := make(chan error, 10)
	r.attach(out, r.handler(func() error {
		_, err := out.Send(make([]uint64, 8))
		return err
	}, func(err error) { end <- err }))
	r.noError(peer.Close())
	out.HangUp(nil)
	require.ErrorIs(r, r.only(end), sharedring.ErrPeerGone)
}

// Killed anywhere in a flood: what came is a prefix, and the end is told once.
func testKilledSender(r *rig) {
	goOn := r.others()
	near, far := r.handles()
	s := r.sink(r.receiver(near), 32)
	p := r.start(sendRole, far, math.MaxUint64)
	p.watch(s.rx.HangUp)
	r.until("items", func() bool { return s.next.Load() > 1000 })
	p.kill()
	require.ErrorIs(r, s.ended(), sharedring.ErrPeerGone)
	goOn()
}

// Killed after the shared write and before its doorbell: the end brings that item, too.
func testKilledBeforeDoorbell(r *rig) {
	near, far := r.handles()
	s := r.sink(r.receiver(near), 32)
	p := r.start(fallRole, far, 100)
	p.watch(s.rx.HangUp)
	p.says("sent")
	s.has(100)
	p.answer()
	p.says("written")
	p.kill()
	require.ErrorIs(r, s.ended(), sharedring.ErrPeerGone)
	require.EqualValues(r, 101, s.next.Load())
}

// Killed with its ring full: the sender is not left waiting for room.
func testKilledReceiver(r *rig) {
	near, far := r.handles()
	tx := r.sender(near)
	p := r.start(receiveRole, far, 10)
	var sent atomic.Int64
	end := make(chan error, 10)
	r.attach(tx, r.handler(func() error {
		for {
			n, err := tx.Send(make([]uint64, 7))
			sent.Add(int64(n))
			if n < 7 || err != nil {
				return err
			}
		}
	}, func(err error) { end <- errors.Join(err, tx.Close()) }))
	p.watch(tx.HangUp)
	p.says("received")
	// A hot sender keeps one slot spare.
	r.until("full", func() bool { return sent.Load() >= int64(tx.Len()-1) })
	r.rounds()
	p.kill()
	require.ErrorIs(r, r.only(end), sharedring.ErrPeerGone)
}
