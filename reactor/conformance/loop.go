package conformance

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// Posts of one goroutine run in its order, each once, and may post again.
func testPosts(r *rig) {
	require.ErrorIs(r, r.loop.Post(nil), reactor.ErrInvalid)
	const posts = 500
	next := make([]int, 4) // no lock
	ran := 0
	var posters sync.WaitGroup
	for i := range next {
		posters.Go(func() {
			for k := range posts {
				r.post(func() {
					if next[i] != k {
						r.Errorf("post %d came where %d was due", k, next[i])
					}
					next[i]++
					r.post(func() { ran++ })
				})
			}
		})
	}
	posters.Wait()
	r.until("posts of posts", func() bool {
		var all bool
		r.do(func() { all = ran == len(next)*posts })
		return all
	})
	require.Equal(r, []int{posts, posts, posts, posts}, next)
}

// Every post that was accepted has run when Close returns.
func testPostsBeforeClose(r *rig) {
	var accepted, ran atomic.Int64
	var posters sync.WaitGroup
	for range 4 {
		posters.Go(func() {
			for {
				err := r.loop.Post(func() { ran.Add(1) })
				if errors.Is(err, reactor.ErrClosed) {
					return
				}
				r.noError(err)
				accepted.Add(1)
			}
		})
	}
	r.until("posts", func() bool { return ran.Load() > 100 })
	require.NoError(r, r.loop.Close())
	now := ran.Load()
	posters.Wait()
	require.Equal(r, accepted.Load(), now)
	require.Equal(r, now, ran.Load())
}

// closing has a loop with rings in all phases.
type closing struct {
	*rig
	sinks []*sink
	feed  []*sharedring.Sender[uint64]
	over  atomic.Bool // Close of the loop has returned
	turns atomic.Int64
}

func newClosing(r *rig) *closing {
	c := &closing{rig: r}
	for range 4 {
		tx, rx := r.incoming()
		s := r.newSink(rx, 1)
		s.reg = r.attach(rx, r.handler(func() error {
			c.callback("a turn")
			return s.ready()
		}, func(err error) {
			c.callback("Closed")
			s.closed(err)
		}))
		c.sinks, c.feed = append(c.sinks, s), append(c.feed, tx)
	}
	r.rounds()
	c.sinks[0].reg.Pause()
	r.send(c.feed[0], 0, 10) // paused with data
	r.send(c.feed[1], 0, 400)
	r.until("a turn", func() bool { return c.sinks[1].next.Load() > 0 }) // most likely queued
	return c
}

func (c *closing) callback(what string) {
	c.turns.Add(1)
	if c.over.Load() {
		c.Errorf("%s after Close of the loop", what)
	}
}

// after checks what holds when Close of the loop has returned.
func (c *closing) after() {
	c.over.Store(true)
	turns := c.turns.Load()
	for i, s := range c.sinks {
		require.Len(c, s.ends, 1)
		require.ErrorIs(c, <-s.ends, reactor.ErrClosed)
		require.NoError(c, c.feed[i].Signal())
		require.ErrorIs(c, s.reg.Resume(), reactor.ErrClosed)
		require.NoError(c, s.reg.Close())
	}
	require.ErrorIs(c, c.loop.Post(func() {}), reactor.ErrClosed)
	_, rx := c.incoming()
	_, err := c.loop.Attach(rx, c.handler(func() error { return nil }, nil))
	require.ErrorIs(c, err, reactor.ErrClosed)
	require.NoError(c, c.loop.Close())
	require.Equal(c, turns, c.turns.Load())
}

func testLoopClose(r *rig) {
	c := newClosing(r)
	require.NoError(r, r.loop.Close())
	c.after()
}

// Close in a callback returns at once, and Closed of all is called when that is over.
func testLoopCloseInCallback(r *rig) {
	c := newClosing(r)
	done := make(chan bool)
	r.post(func() {
		defer close(done)
		r.noError(r.loop.Close())
		for _, s := range c.sinks {
			if len(s.ends) > 0 {
				r.Errorf("Closed was called inside a callback")
			}
		}
	})
	r.await("a post", done)
	r.until("Closed of all", func() bool {
		for _, s := range c.sinks {
			if len(s.ends) == 0 {
				return false
			}
		}
		return true
	})
	require.NoError(r, r.loop.Close())
	c.after()
}

func testLoopCloseByMany(r *rig) {
	c := newClosing(r)
	var closers sync.WaitGroup
	for range 4 {
		closers.Go(func() {
			r.noError(r.loop.Close())
			c.over.Store(true)
		})
	}
	closers.Wait()
	c.after()
}
