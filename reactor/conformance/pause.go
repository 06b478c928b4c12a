package conformance

import "github.com/stretchr/testify/require"

// A pause holds back what comes in, of this ring only, and nothing of it is lost.
func testPause(r *rig) {
	tx, rx := r.incoming()
	s := r.sink(rx, 8)
	other, otherRx := r.incoming()
	o := r.sink(otherRx, 8)
	for round := range uint64(5) {
		r.send(tx, 20*round, 20*round+10)
		s.has(20*round + 10)
		s.reg.Pause()
		s.reg.Pause()
		r.rounds()
		turns := s.turns.Load()
		r.send(tx, 20*round+10, 20*round+20)
		r.send(other, 10*round, 10*round+10)
		o.has(10*round + 10)
		r.rounds()
		require.Equal(r, turns, s.turns.Load(), "a turn in a pause")
		require.NoError(r, s.reg.Resume()) // once is enough
		s.has(20*round + 20)
	}
}

// A turn that pauses its own ring is the last until Resume, whatever is left in the ring.
func testPauseInTurn(r *rig) {
	tx, rx := r.incoming()
	s := r.newSink(rx, 1)
	r.attachFirst(&s.reg, rx, r.handler(func() error {
		s.reg.Pause()
		return s.ready()
	}, s.closed))
	r.rounds()
	r.send(tx, 0, 20)
	for next := range uint64(20) {
		r.rounds()
		require.Equal(r, next, s.next.Load(), "a turn in a pause")
		require.NoError(r, s.reg.Resume())
		s.has(next + 1)
	}
}

// Resume without a Pause is a look at what no doorbell told of.
func testResumeLooks(r *rig) {
	tx, rx := r.incoming()
	s := r.sink(rx, 8)
	for next := range uint64(r.times(200)) {
		r.rounds()
		_, _, err := tx.Raw().Send([]uint64{next})
		require.NoError(r, err)
		require.NoError(r, s.reg.Resume())
		s.has(next + 1)
	}
}
