package conformance

import (
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// One send, and a turn for each item of it.
func testPartialConsumption(r *rig) {
	tx, rx := r.incoming()
	s := r.sink(rx, 1)
	r.rounds()
	items := make([]uint64, 300)
	for i := range items {
		items[i] = uint64(i)
	}
	n, err := tx.Send(items)
	require.NoError(r, err)
	require.Len(r, items, n)
	s.has(300)
	require.GreaterOrEqual(r, s.turns.Load(), int64(300))
}

// maxRun is how many turns of one ring may come between two of another that has
// something to do. A queue makes it 1.
const maxRun = 8

// A ring that never runs dry holds up neither other rings nor posts.
func testFairness(r *rig) {
	self, endless := r.incoming()
	one := make([]uint64, 1)
	_, err := self.Send(one)
	require.NoError(r, err)
	tx, rx := r.incoming()
	s := r.newSink(rx, 1)
	r.send(tx, 0, 400)

	over := false
	var last, run, longest int // of the turns while both have something to do
	turn := func(who int) {
		if last != who {
			last, run = who, 0
		}
		run++
		if n := s.next.Load(); n > 0 && n < 400 {
			longest = max(longest, run)
		}
	}
	end := make(chan error, 10)
	r.attach(endless, r.handler(func() error {
		if over {
			return errTest
		}
		turn(1)
		if n, err := endless.Receive(one); n == 0 || err != nil {
			return err
		}
		_, err := self.Send(one)
		return err
	}, func(err error) { end <- err }))
	r.attach(rx, r.handler(func() error {
		turn(2)
		return s.ready()
	}, s.closed))
	s.has(400)
	var got int
	r.do(func() { got = longest })
	require.LessOrEqual(r, got, maxRun)

	// One that sleeps is woken all the same.
	for i := range uint64(5) {
		r.rounds()
		r.send(tx, 400+i, 401+i)
		s.has(401 + i)
	}
	r.do(func() { over = true })
	require.ErrorIs(r, r.only(end), errTest)
}

// No edge tells of what was in the ring before it was attached.
func testOlderThanAttach(r *rig) {
	tx, rx := r.incoming()
	_, _, err := tx.Raw().Send([]uint64{0, 1, 2})
	require.NoError(r, err)
	r.sink(rx, 2).has(3)
}

// Each item is sent when its receiver has seen that there is none: in its turn, so that
// there is an edge in the turn, or none at all while a tail is held.
func testEdgeInTurn(r *rig) {
	const items = 50
	for hold := range 2 {
		tx, rx := r.incoming(sharedring.WithHold(hold))
		s := r.newSink(rx, 8)
		r.attach(rx, r.handler(func() error {
			if err := s.ready(); err != nil {
				return err
			}
			if n, err := rx.Available(); err != nil || n > 0 {
				return err
			}
			next := s.next.Load()
			if next == items {
				return nil
			}
			_, err := tx.Send([]uint64{next})
			return err
		}, s.closed))
		s.has(items)
	}
}

// Each item is sent when the one before was received: while the loop goes to sleep, or
// when it has just done so.
func testWakeUps(r *rig) {
	for hold := range 2 {
		tx, rx := r.incoming(sharedring.WithHold(hold))
		s := r.sink(rx, 8)
		for next := range uint64(r.times(2000)) {
			r.send(tx, next, next+1)
			s.has(next + 1)
		}
	}
}

// Attach is for callbacks and for any goroutine.
func testAttachAnywhere(r *rig) {
	var lock sync.Mutex
	feed := map[*sink]*sharedring.Sender[uint64]{}
	attach := func() {
		lock.Lock()
		tx, rx := r.incoming()
		s := r.newSink(rx, 8)
		feed[s] = tx
		lock.Unlock()
		var err error
		s.reg, err = r.loop.Attach(rx, r.handler(s.ready, s.closed))
		r.noError(err)
	}
	_, rx := r.incoming()
	all := make(chan bool)
	r.attach(rx, r.handler(func() error {
		attach()
		return errTest
	}, func(error) {
		attach()
		r.noError(r.loop.Post(func() {
			attach()
			close(all)
		}))
	}))
	r.await("Ready, Closed and a post", all)
	var others sync.WaitGroup
	for range 4 {
		others.Go(attach)
	}
	others.Wait()
	require.Len(r, feed, 7)
	for s, tx := range feed {
		r.send(tx, 0, 10)
		s.has(10)
		require.NoError(r, s.reg.Close())
	}
}

// A ring whose registration was closed, or has ended, can be attached again: the loop has
// let go of it, and nothing of what was in it is lost.
func testAttachAgain(r *rig) {
	tx, rx := r.incoming()
	s := r.newSink(rx, 8)
	for round := range uint64(5) {
		reg := r.attach(rx, r.handler(s.ready, nil))
		r.send(tx, 20*round, 20*round+10)
		s.has(20*round + 10)
		require.NoError(r, reg.Close())
		r.send(tx, 20*round+10, 20*round+20)
	}
	again := make(chan bool)
	r.attach(rx, r.handler(func() error { return errTest }, func(error) {
		var err error
		s.reg, err = r.loop.Attach(rx, r.handler(s.ready, s.closed))
		r.noError(err)
		close(again)
	}))
	r.await("Closed", again)
	r.send(tx, 100, 110)
	s.has(110)
}

func testAttachRefuses(r *rig) {
	_, rx := r.incoming()
	_, err := r.loop.Attach(nil, reactor.Handler{Ready: func(reactor.Event) error { return nil }})
	require.ErrorIs(r, err, reactor.ErrInvalid)
	_, err = r.loop.Attach(rx, reactor.Handler{})
	require.ErrorIs(r, err, reactor.ErrInvalid)

	tx, rx := r.incoming()
	s := r.sink(rx, 8)
	r.send(tx, 0, 10)
	s.has(10)
}
