package gnetring

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"
	errorx "github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/reactor"
)

// All rings are told once when the engine stops, and nothing is left.
func TestEngineStopsWithRings(t *testing.T) {
	forRoutes(t, func(t *testing.T, r routeOf) {
		before := proctest.Take()
		p := run(t, &hooks{}, nil)
		client, c := p.dial()
		l, err := p.Loop(c.EventLoop())
		require.NoError(t, err)
		var all []*collector
		for i := range 8 {
			rx, tx := r.rings(t, 16)
			k := collect(rx)
			all = append(all, k)
			var reg *Registration
			if i%2 == 0 {
				reg, err = l.Attach(rx, k.handler(), WithRoute(r.Route))
			} else {
				reg, err = p.AttachConn(c, rx, k.handler(), WithRoute(r.Route))
			}
			require.NoError(t, err)
			switch i {
			case 0, 1: // gnet takes them in while it stops
			case 2:
				reg.Pause()
				send(t, tx, 1)
			default:
				send(t, tx, 1)
				k.want(t, 1)
			}
		}
		during := proctest.Take()
		p.shutDown()
		for _, k := range all {
			require.Len(t, k.closed, 1)
			require.ErrorIs(t, <-k.closed, reactor.ErrClosed)
		}
		require.ErrorIs(t, l.Post(func() {}), reactor.ErrClosed)
		require.NoError(t, l.Close())
		rx, _ := r.rings(t, 16)
		_, err = l.Attach(rx, collect(rx).handler())
		require.ErrorIs(t, err, reactor.ErrClosed)
		_, err = p.AttachConn(c, rx, collect(rx).handler())
		require.ErrorIs(t, err, reactor.ErrClosed)
		_, err = p.Loop(c.EventLoop())
		require.ErrorIs(t, err, reactor.ErrClosed)
		require.NoError(t, client.Close())
		require.Greater(t, during.FDs, before.FDs)
		// The ring ends, with two doorbells each, are closed when the test ends.
		require.LessOrEqual(t, proctest.Take().FDs, before.FDs+9*2*2)
	})
}

// Rings that come while the engine stops are refused or told.
func TestEngineStopsWhileRingsCome(t *testing.T) {
	forRoutes(t, func(t *testing.T, r routeOf) {
		for range 10 {
			p := run(t, &hooks{}, nil, gnet.WithNumEventLoop(2))
			var loops []*Loop
			for range 2 {
				_, c := p.dial()
				l, err := p.Loop(c.EventLoop())
				require.NoError(t, err)
				loops = append(loops, l)
			}
			var attachers sync.WaitGroup
			var mu sync.Mutex
			var all []*collector
			rings := make([]*collector, 40)
			for i := range rings {
				rx, _ := r.rings(t, 1)
				rings[i] = collect(rx)
			}
			started := make(chan bool, len(rings))
			for g := range 2 {
				attachers.Go(func() {
					for i := g; i < len(rings); i += 2 {
						k := rings[i]
						started <- true
						_, err := loops[i/2%2].Attach(k.rx, k.handler(), WithRoute(r.Route))
						if err != nil {
							require.ErrorIs(t, err, reactor.ErrClosed)
							continue
						}
						mu.Lock()
						all = append(all, k)
						mu.Unlock()
					}
				})
			}
			for range 5 {
				<-started
			}
			p.shutDown()
			attachers.Wait()
			for _, k := range all {
				require.Len(t, k.closed, 1)
				require.ErrorIs(t, <-k.closed, reactor.ErrClosed)
			}
		}
	})
}

// A Shutdown ends an event loop at once, but not before gnet has taken in a doorbell.
func TestShutdownWhileAttaching(t *testing.T) {
	for _, way := range []string{"traffic", "tick"} {
		forRoutes(t, func(t *testing.T, r routeOf) {
			rx, _ := r.rings(t, 16)
			k := collect(rx)
			h, attach := new(hooks), make(chan gnet.Conn, 1)
			h.traffic = func(c gnet.Conn) gnet.Action {
				_, err := h.rings.AttachConn(c, rx, k.handler(), WithRoute(r.Route))
				require.NoError(t, err)
				return gnet.Shutdown
			}
			h.tick = func() (time.Duration, gnet.Action) {
				select {
				case c := <-attach:
					return time.Millisecond, h.traffic(c)
				default:
					return time.Millisecond, gnet.None
				}
			}
			p := run(t, h, nil, gnet.WithTicker(way == "tick"), gnet.WithNumEventLoop(2))
			client, c := p.dial()
			if way == "tick" {
				attach <- c
			} else {
				_, err := client.Write([]byte("x"))
				require.NoError(t, err)
			}
			require.NoError(t, <-p.ended)
			p.ended <- nil
			require.Len(t, k.closed, 1)
			require.ErrorIs(t, <-k.closed, reactor.ErrClosed)
		})
	}
}

// An event loop that ends by itself, which nobody is told of before.
func TestEventLoopEndsByItself(t *testing.T) {
	forRoutes(t, func(t *testing.T, r routeOf) {
		p := run(t, &hooks{}, nil, gnet.WithNumEventLoop(2))
		l := p.loop()
		rx, tx := r.rings(t, 16)
		k := collect(rx)
		_, err := l.Attach(rx, k.handler(), WithRoute(r.Route))
		require.NoError(t, err)
		send(t, tx, 1)
		k.want(t, 1)
		for p.flights.any() { // it would be lost
			runtime.Gosched()
		}
		require.NoError(t, l.el.Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
			return errorx.ErrEngineShutdown
		})))
		require.NoError(t, <-p.ended)
		p.ended <- nil
		require.Len(t, k.closed, 1)
		require.ErrorIs(t, <-k.closed, reactor.ErrClosed)
	})
}

// OnShutdown of the program is called while its rings are served.
func TestOnShutdownComesFirst(t *testing.T) {
	rx, tx := routes[0].rings(t, 16)
	k := collect(rx)
	p := run(t, &hooks{shutdown: func() {
		send(t, tx, 5)
		k.want(t, 5)
	}}, nil)
	_, err := p.loop().Attach(rx, k.handler())
	require.NoError(t, err)
	p.shutDown()
	require.ErrorIs(t, <-k.closed, reactor.ErrClosed)
}

// The same Rings serve the next engine.
func TestRingsRunAgain(t *testing.T) {
	p := run(t, &hooks{}, nil)
	for range 2 {
		rx, tx := routes[0].rings(t, 16)
		k := collect(rx)
		_, err := p.loop().Attach(rx, k.handler(), TrustPeer())
		require.NoError(t, err)
		send(t, tx, 1)
		k.want(t, 1)
		p.shutDown()
		require.ErrorIs(t, <-k.closed, reactor.ErrClosed)
		p.stop, p.first = sync.Once{}, atomic.Pointer[gnet.Conn]{}
		p.start()
	}
}

// Close of a Loop lets go of its rings, from anywhere, and a new one takes its place.
func TestCloseOfLoop(t *testing.T) {
	closeLoop := make(chan *Loop, 1)
	closed := make(chan bool, 1)
	p := run(t, &hooks{traffic: func(c gnet.Conn) gnet.Action {
		_, _ = c.Discard(-1)
		require.NoError(t, (<-closeLoop).Close()) // on the event loop, but not in a ring's callback
		closed <- true
		return gnet.None
	}}, nil)
	client, c := p.dial()
	for _, where := range []string{"elsewhere", "traffic", "callback", "at once"} {
		l, err := p.Loop(c.EventLoop())
		require.NoError(t, err)
		rx, _ := routes[0].rings(t, 16)
		k := collect(rx)
		_, err = l.Attach(rx, k.handler())
		require.NoError(t, err)
		if where != "at once" {
			done := make(chan bool)
			require.NoError(t, l.Post(func() { close(done) }))
			<-done
		}
		switch where {
		case "traffic":
			closeLoop <- l
			_, err := client.Write([]byte("x"))
			require.NoError(t, err)
			<-closed
		case "callback":
			require.NoError(t, l.Post(func() { require.NoError(t, l.Close()) }))
		default:
			require.NoError(t, l.Close())
		}
		require.ErrorIs(t, <-k.closed, reactor.ErrClosed, where)
		<-l.done
		next, err := p.Loop(c.EventLoop())
		require.NoError(t, err)
		require.NotSame(t, l, next)
		require.NoError(t, l.Close())
	}
}
