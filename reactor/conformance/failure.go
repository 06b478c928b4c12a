package conformance

import (
	"errors"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/reactor"
)

// others are rings that go on, whatever happens to one.
func (r *rig) others() (goOn func()) {
	const rings = 2
	var sinks []*sink
	var send []func(from, to uint64)
	for range rings {
		tx, rx := r.incoming()
		sinks = append(sinks, r.sink(rx, 8))
		send = append(send, func(from, to uint64) { r.send(tx, from, to) })
	}
	next := uint64(0)
	return func() {
		r.Helper()
		for i, s := range sinks {
			send[i](next, next+100)
			s.has(next + 100)
		}
		next += 100
	}
}

// The error of a turn ends the registration, once, and no other. The loop has let go
// of the ring by then, so that its descriptors may be closed and used again.
func testReadyFails(r *rig) {
	goOn := r.others()
	for range r.times(60) {
		tx, rx := r.incoming()
		s := r.newSink(rx, 1)
		s.reg = r.attach(rx, r.handler(func() error {
			if err := s.ready(); err != nil {
				return err
			}
			if s.next.Load() == 5 {
				return errTest
			}
			return nil
		}, s.closed))
		r.send(tx, 0, 10)
		require.ErrorIs(r, s.ended(), errTest)
		require.EqualValues(r, 5, s.next.Load())
		require.ErrorIs(r, s.reg.Resume(), reactor.ErrClosed)
		require.NoError(r, tx.Signal())
		goOn()
		require.Empty(r, s.ends)
		require.NoError(r, s.reg.Close())
	}
}

// trap is a source that does something else when it is told to.
type trap struct {
	reactor.Source
	pending, arm func() error
	set          atomic.Bool
}

func (t *trap) Pending() (bool, error) {
	if t.set.Load() && t.pending != nil {
		return false, t.pending()
	}
	return t.Source.Pending()
}

func (t *trap) Arm() (bool, error) {
	if t.set.Load() && t.arm != nil {
		return false, t.arm()
	}
	return t.Source.Arm()
}

// The error of a source ends the registration, too.
func testSourceFails(r *rig) {
	goOn := r.others()
	fail := func() error { return errTest }
	for _, fails := range []*trap{{pending: fail}, {arm: fail}, {pending: fail, arm: fail}} {
		if r.hot && fails.pending == nil {
			continue // it is not armed
		}
		tx, rx := r.incoming()
		fails.Source = rx
		s := r.newSink(rx, 8)
		s.reg = r.attach(fails, r.handler(s.ready, s.closed))
		r.send(tx, 0, 10)
		s.has(10)
		fails.set.Store(true)
		_ = s.reg.Resume() // a hot ring may have ended by now
		require.ErrorIs(r, s.ended(), errTest)
		goOn()
	}
}

// A panic of a callback or a source ends that registration, and nothing else. One of a
// post, or of Closed, ends nothing.
func testPanics(r *rig) {
	goOn := r.others()
	bad := func() error { panic(errTest) }
	for _, panics := range []*trap{{}, {pending: bad}, {arm: bad}} {
		if r.hot && panics.arm != nil {
			continue // it is not armed
		}
		tx, rx := r.incoming()
		panics.Source = rx
		s := r.newSink(rx, 8)
		s.reg = r.attach(panics, r.handler(func() error {
			if panics.set.Load() && panics.pending == nil && panics.arm == nil {
				panic(errTest)
			}
			return s.ready()
		}, func(err error) {
			s.closed(err)
			panic(errTest)
		}))
		r.send(tx, 0, 10)
		s.has(10)
		panics.set.Store(true)
		_ = s.reg.Resume() // a hot ring may have ended by now
		err := s.ended()
		require.ErrorIs(r, err, errTest)
		var told *reactor.PanicError
		require.True(r, errors.As(err, &told), "%v", err)
		goOn()
	}
	r.post(func() { panic(errTest) })
	goOn()
}
