package gnetring

import (
	"context"
	"sync"
	"testing"

	"github.com/panjf2000/gnet/v2"
	errorx "github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/reactor"
)

// Rings attached to the engine are shared out, while connections come in.
func TestEngineChoosesEventLoop(t *testing.T) {
	forRoutes(t, func(t *testing.T, r routeOf) {
		p := run(t, &hooks{traffic: echo}, nil, gnet.WithNumEventLoop(3), gnet.WithLoadBalancing(gnet.LeastConnections))
		var attachers sync.WaitGroup
		for range 2 {
			attachers.Go(func() {
				for range 6 {
					p.dial()
				}
			})
		}
		var mu sync.Mutex
		loops := map[*Loop]int{}
		for range 3 {
			attachers.Go(func() {
				for i := range uint64(3) {
					rx, tx := r.rings(t, 16)
					k := collect(rx)
					reg, err := p.Attach(t.Context(), rx, k.handler(), WithRoute(r.Route))
					require.NoError(t, err)
					send(t, tx, i)
					k.want(t, i)
					mu.Lock()
					loops[reg.Loop()]++
					mu.Unlock()
				}
			})
		}
		attachers.Wait()
		require.Greater(t, len(loops), 1)
		total := 0
		for l, n := range loops {
			require.Equal(t, n, l.Stats().Registered)
			total += n
		}
		require.Equal(t, 9, total)
	})
}

func TestEngineThatDoesNotRun(t *testing.T) {
	x := Wrap(nil)
	rx, _ := routes[0].rings(t, 16)
	_, err := x.Attach(t.Context(), rx, collect(rx).handler())
	require.ErrorIs(t, err, errorx.ErrEmptyEngine)
	require.ErrorIs(t, err, ErrNotEnrolled)

	p := run(t, &hooks{}, nil)
	el := p.loop().el
	hold, held := make(chan bool), make(chan bool)
	require.NoError(t, el.Execute(t.Context(), gnet.RunnableFunc(func(context.Context) error {
		close(held)
		<-hold
		return nil
	})))
	<-held
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Attach(ctx, rx, collect(rx).handler())
	require.ErrorIs(t, err, context.Canceled)
	close(hold)
	_, err = p.Attach(t.Context(), nil, reactor.Handler{})
	require.ErrorIs(t, err, reactor.ErrInvalid)
	p.shutDown()
	_, err = p.Attach(t.Context(), rx, collect(rx).handler())
	require.ErrorIs(t, err, reactor.ErrClosed)
}

// A nil handler serves rings alone, and a gnet.Client has event loops too.
func TestClientOfGnet(t *testing.T) {
	server := run(t, &hooks{traffic: echo}, nil)
	x := Wrap(nil)
	cli, err := gnet.NewClient(x, gnet.WithLogger(silence{}))
	require.NoError(t, err)
	require.NoError(t, cli.Start())
	c, err := cli.Dial("unix", server.address)
	require.NoError(t, err)
	forRoutes(t, func(t *testing.T, r routeOf) {
		rx, tx := r.rings(t, 16)
		k := collect(rx)
		l, err := x.Loop(c.EventLoop())
		require.NoError(t, err)
		reg, err := l.Attach(rx, k.handler(), WithRoute(r.Route))
		require.NoError(t, err)
		send(t, tx, 1)
		k.want(t, 1)
		require.NoError(t, reg.Close())
	})
	rx, _ := routes[0].rings(t, 16)
	k := collect(rx)
	_, err = x.AttachConn(c, rx, k.handler())
	require.NoError(t, err)
	require.NoError(t, cli.Stop())
	require.Len(t, k.closed, 1)
	require.ErrorIs(t, <-k.closed, reactor.ErrClosed)
}
