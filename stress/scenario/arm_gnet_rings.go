package scenario

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"

	"github.com/panjf2000/gnet/v2"

	gnetring "github.com/shmloop/shmloop/adapters/gnet"
	"github.com/shmloop/shmloop/reactor"
)

// serveByGnetRings is one loop of gnet for all rings. The peers are trusted, so their
// eventfds are put into gnet's own epoll.
func serveByGnetRings(rings []ring, take func(int, []record)) (*service, error) {
	dir, err := os.MkdirTemp("", "fanin")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "socket")
	g := &gnetBoot{booted: make(chan gnet.Engine, 1), opened: make(chan gnet.EventLoop, 1)}
	wrapped := gnetring.Wrap(g)
	failed, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		err := gnet.Run(wrapped, "unix://"+path, gnet.WithNumEventLoop(1), gnet.WithLogger(silence{}))
		report(failed, err)
		ended <- errors.Join(err, os.RemoveAll(dir))
	}()
	var engine gnet.Engine
	select {
	case engine = <-g.booted:
	case err := <-ended:
		return nil, err
	}
	stop := func() error { return errors.Join(engine.Stop(context.Background()), <-ended) }
	loop, err := g.loop(wrapped, path)
	if err == nil {
		err = attachAll(gnetLoop{loop}, rings, turn, take, failed)
	}
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return &service{failed: failed, stop: stop}, nil
}

// gnetBoot tells when the engine runs.
type gnetBoot struct {
	gnet.BuiltinEventEngine
	booted chan gnet.Engine
	opened chan gnet.EventLoop
}

func (g *gnetBoot) OnBoot(e gnet.Engine) gnet.Action {
	g.booted <- e
	return gnet.None
}

func (g *gnetBoot) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	g.opened <- c.EventLoop()
	return nil, gnet.Close
}

// loop is the one that takes connections at path: of an engine that has only booted
// there is none yet.
func (g *gnetBoot) loop(rings *gnetring.Rings, path string) (*gnetring.Loop, error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return rings.Loop(<-g.opened)
}

type gnetLoop struct{ loop *gnetring.Loop }

func (l gnetLoop) Attach(s reactor.Source, h reactor.Handler) (*reactor.Registration, error) {
	_, err := l.loop.Attach(s, h, gnetring.TrustPeer())
	return nil, err
}
