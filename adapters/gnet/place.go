package gnetring

import (
	"context"
	"fmt"

	"github.com/panjf2000/gnet/v2"

	"github.com/shmloop/shmloop/reactor"
)

// Attach attaches a ring to an event loop that the engine chooses, by its load balancing,
// as it chooses for a connection. It waits for that, so it must not be called on an
// event loop, where Loop.Attach is for. Rings that belong together are attached to the
// Loop of the first.
//
// With more than one event loop the engine needs
// gnet.WithLoadBalancing(gnet.LeastConnections): the default is not safe for
// use beside connections that come in (see gnet.Engine.Register), and the other one sees
// all rings as one address. Rings with RouteRelay are no connections to it.
//
// The engine has to run, which gnet tells of with the first OnOpen or OnTick and not with
// OnBoot. Errors are those of Loop.Attach and of ctx, and gnet's for an engine that does
// not run.
func (x *Rings) Attach(ctx context.Context, s reactor.Source, h reactor.Handler, opts ...AttachOption) (*Registration, error) {
	l, err := x.place(ctx)
	if err != nil {
		return nil, fmt.Errorf("gnetring: attach: %w", err)
	}
	return l.Attach(s, h, opts...)
}

// place has the engine choose for a connection, which ends there.
func (x *Rings) place(ctx context.Context) (*Loop, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	conn, err := connPair()
	if err != nil {
		return nil, err
	}
	p := &probe{rings: x, result: make(chan placed, 1)}
	err = x.enrol(conn, p, func(c context.Context) (<-chan gnet.RegisteredResult, error) {
		x.mu.Lock()
		defer x.mu.Unlock() // gnet's load balancing has no lock
		return x.engine.Register(gnet.NewNetConnContext(c, conn))
	})
	if err != nil {
		return nil, err
	}
	select {
	case r := <-p.result:
		return r.loop, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// probe is a connection that only shows its event loop.
type probe struct {
	rings  *Rings
	result chan placed
}

type placed struct {
	loop *Loop
	err  error
}

func (p *probe) opened(c gnet.Conn) gnet.Action {
	l, err := p.rings.Loop(c.EventLoop())
	p.result <- placed{l, err}
	return gnet.Close
}

func (p *probe) failed(err error) { p.result <- placed{nil, err} }
func (p *probe) readable(int)     {}
func (p *probe) closed(error)     {}
