package scenario

import (
	"context"
	"errors"

	"github.com/panjf2000/gnet/v2"
)

// serveByGnet is one loop of gnet for all connections.
func serveByGnet(path string, in *intake) (*service, error) {
	g := &gnetServer{in: in, booted: make(chan gnet.Engine, 1)}
	failed, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		err := gnet.Run(g, "unix://"+path, gnet.WithNumEventLoop(1), gnet.WithLogger(silence{}))
		report(failed, err)
		ended <- err
	}()
	select {
	case engine := <-g.booted:
		return &service{failed: failed, stop: func() error {
			return errors.Join(engine.Stop(context.Background()), <-ended)
		}}, nil
	case err := <-ended:
		return nil, err
	}
}

// gnetServer has its callbacks called on gnet's one loop.
type gnetServer struct {
	gnet.BuiltinEventEngine
	in     *intake
	conns  int
	booted chan gnet.Engine
}

func (g *gnetServer) OnBoot(e gnet.Engine) gnet.Action {
	g.booted <- e
	return gnet.None
}

func (g *gnetServer) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	c.SetContext(g.conns)
	g.conns++
	return nil, gnet.None
}

// OnTraffic takes the whole records that are there. gnet keeps what is left.
func (g *gnetServer) OnTraffic(c gnet.Conn) gnet.Action {
	b, err := c.Next(c.InboundBuffered() / recordSize * recordSize)
	if err != nil {
		return gnet.Close
	}
	if len(b) > 0 {
		g.in.takeBytes(c.Context().(int), b)
	}
	return gnet.None
}

// silence is a logger for gnet, which would tell of each connection that ends.
type silence struct{}

func (silence) Debugf(string, ...any) {}
func (silence) Infof(string, ...any)  {}
func (silence) Warnf(string, ...any)  {}
func (silence) Errorf(string, ...any) {}
func (silence) Fatalf(string, ...any) {}
