package reactor

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStateTurn(t *testing.T) {
	var s state
	require.True(t, s.wake(), "idle: queue it")
	require.False(t, s.wake(), "queued already")
	require.True(t, s.begin())
	require.True(t, s.running())
	requeue, closed := s.finish(false)
	require.False(t, requeue)
	require.False(t, closed)
	require.Equal(t, phaseIdle, s.load())
}

func TestStateEdgeWhileRunning(t *testing.T) {
	var s state
	s.wake()
	s.begin()
	require.False(t, s.wake())
	requeue, _ := s.finish(false)
	require.True(t, requeue, "the edge asks for another turn")
	require.Equal(t, phaseQueued, s.load(), "and is used up")
}

func TestStatePause(t *testing.T) {
	var s state
	require.True(t, s.pause())
	require.False(t, s.pause())
	require.False(t, s.wake(), "no turn in a pause")
	s.resume()
	require.True(t, s.wake())

	require.True(t, s.pause(), "while queued")
	require.True(t, s.begin())
	requeue, _ := s.finish(true)
	require.False(t, requeue)
	s.resume()
	require.Equal(t, phaseIdle, s.load())

	s.wake()
	s.begin()
	s.pause()
	s.resume()
	require.False(t, s.wake(), "resumed while running")
	requeue, _ = s.finish(false)
	require.True(t, requeue)
}

func TestStateClose(t *testing.T) {
	var s state
	s.wake()
	require.True(t, s.close())
	require.False(t, s.close())
	require.False(t, s.begin(), "no turn after close")
	require.False(t, s.wake())
	require.False(t, s.pause())
	require.False(t, s.seize(), "no last callback after close")

	s = state{}
	s.wake()
	s.begin()
	s.close()
	require.True(t, s.running(), "closed while running: somebody may wait")
	requeue, closed := s.finish(true)
	require.False(t, requeue)
	require.True(t, closed)
	require.False(t, s.running())

	s = state{}
	require.True(t, s.seize())
	require.True(t, s.running())
	require.False(t, s.close())
	_, closed = s.finish(false)
	require.True(t, closed)
}

// Two loops see the same edges: each item is taken once, by one at a time, and
// none is left.
func TestFault51TwoEdgesOneOwner(t *testing.T) {
	const items = 20000
	var (
		s       state
		count   atomic.Int64
		taken   int64 // not atomic: the race detector sees two owners
		owners  atomic.Int32
		done    = make(chan bool)
		turns   = make(chan bool, 1) // a queue of one: state allows no more
		edge    = func() { push(&s, turns) }
		waiting sync.WaitGroup
	)
	service := func() {
		if !s.begin() {
			return
		}
		if owners.Add(1) != 1 {
			t.Error("two owners")
		}
		n := count.Swap(0)
		taken += n
		all := taken == items
		owners.Add(-1)
		if requeue, _ := s.finish(count.Load() > 0); requeue {
			turns <- true
		}
		if all {
			close(done)
		}
	}
	for range 2 { // loops
		waiting.Go(func() {
			for {
				select {
				case <-turns:
					service()
				case <-done:
					return
				}
			}
		})
	}
	for range 4 { // senders
		waiting.Go(func() {
			for range items / 4 {
				if count.Add(1) == 1 {
					edge()
					edge() // seen by the other loop too
				}
				runtime.Gosched()
			}
		})
	}
	waiting.Wait()
	require.EqualValues(t, items, taken)
}

func push(s *state, turns chan bool) {
	if s.wake() {
		turns <- true
	}
}
