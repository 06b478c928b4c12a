package gnetring

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

// Rings is the rings of one gnet engine. It is the gnet.EventHandler to run the engine
// with, and passes on to the user's all that happens to the user's connections.
// Attach, AttachConn and Loop may be called from any goroutine; the rest is for gnet.
type Rings struct {
	user     gnet.EventHandler
	options  []reactor.Option
	granter  *handoff.Granter // nil: no handshakes
	timeout  time.Duration    // of a request that has begun
	onClient func(*Client) error

	flights   flights
	conns     sync.Map // gnet.Conn: *link, of connections that rings are or may be attached to
	listeners sync.Map // addresses of unix listeners that take no descriptors

	mu     sync.Mutex
	engine gnet.Engine
	loops  map[gnet.EventLoop]*Loop
}

var _ gnet.EventHandler = (*Rings)(nil)

// Option changes how Rings work.
type Option func(*Rings)

// WithReactor gives options to the rings of each event loop, such as reactor.WithSpin
// and reactor.WithLogger.
func WithReactor(opts ...reactor.Option) Option {
	return func(x *Rings) { x.options = append(x.options, opts...) }
}

// Wrap makes Rings that pass on to h what is not theirs. nil stands for a handler that
// does nothing. Run the engine with it:
//
//	rings := gnetring.Wrap(handler)
//	err := gnet.Run(rings, "tcp://:9000", gnet.WithMulticore(true))
//
// When the engine has stopped it can be run with another.
func Wrap(h gnet.EventHandler, opts ...Option) *Rings {
	if h == nil {
		h = new(gnet.BuiltinEventEngine)
	}
	x := &Rings{user: h, loops: make(map[gnet.EventLoop]*Loop)}
	for _, o := range opts {
		o(x)
	}
	return x
}

// Loop returns the rings of an event loop: that of a connection is its EventLoop(). The
// error matches reactor.ErrClosed when the engine stops.
func (x *Rings) Loop(el gnet.EventLoop) (*Loop, error) {
	if el == nil {
		return nil, fmt.Errorf("gnetring: loop: nil event loop: %w", reactor.ErrInvalid)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if l := x.loops[el]; l != nil {
		return l, nil
	}
	if x.flights.stopping() {
		return nil, fmt.Errorf("gnetring: loop: %w", reactor.ErrClosed)
	}
	l, err := newLoop(x, el)
	if err != nil {
		return nil, fmt.Errorf("gnetring: loop: %w", err)
	}
	x.loops[el] = l
	return l, nil
}

// find returns the rings of el, nil if there are none.
func (x *Rings) find(el gnet.EventLoop) *Loop {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.loops[el]
}

func (x *Rings) drop(l *Loop) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.loops[l.el] == l {
		delete(x.loops, l.el)
	}
}

func (x *Rings) all() []*Loop {
	x.mu.Lock()
	defer x.mu.Unlock()
	var all []*Loop
	for _, l := range x.loops {
		all = append(all, l)
	}
	return all
}

// OnBoot implements gnet.EventHandler.
func (x *Rings) OnBoot(e gnet.Engine) gnet.Action {
	x.mu.Lock()
	x.engine = e
	x.mu.Unlock()
	x.listeners.Clear()
	x.flights.allow()
	return x.user.OnBoot(e)
}

// OnShutdown implements gnet.EventHandler. gnet calls it before it ends its event
// loops, and on none of them.
func (x *Rings) OnShutdown(e gnet.Engine) {
	x.user.OnShutdown(e)
	x.flights.ground()
	for _, l := range x.all() {
		if !l.begun() {
			l.end() // its event loop died, or it would end it
		}
	}
}

// OnOpen implements gnet.EventHandler.
func (x *Rings) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	if e, ok := c.Context().(*enrolment); ok {
		e.open.Store(true)
		return nil, e.opened(c)
	}
	x.expectRequest(c)
	out, action := x.user.OnOpen(c)
	return out, x.pass(action)
}

// OnTraffic implements gnet.EventHandler.
func (x *Rings) OnTraffic(c gnet.Conn) gnet.Action {
	if e, ok := c.Context().(*enrolment); ok {
		n, _ := c.Discard(-1)
		e.readable(n)
		return gnet.None
	}
	if x.granter != nil {
		if action, mine := x.handshake(c); mine {
			return action
		}
	}
	return x.pass(x.user.OnTraffic(c))
}

// OnClose implements gnet.EventHandler. Rings of the connection end before the user
// is told, while the connection can still be used.
func (x *Rings) OnClose(c gnet.Conn, err error) gnet.Action {
	if x.flights.stopping() {
		if l := x.find(c.EventLoop()); l != nil {
			l.end()
		}
	}
	if e, ok := c.Context().(*enrolment); ok {
		e.closed(err)
		return gnet.None
	}
	x.endLink(c, err)
	action := x.user.OnClose(c, err)
	x.endLink(c, err) // of rings that OnClose attached
	return x.pass(action)
}

// OnTick implements gnet.EventHandler.
func (x *Rings) OnTick() (time.Duration, gnet.Action) {
	delay, action := x.user.OnTick()
	return delay, x.pass(action)
}

// pass is the user's action, but for a Shutdown while enrolments are under way. gnet ends
// the event loop at once then and loses them; asked for a stop it calls OnShutdown
// first, which waits for them.
func (x *Rings) pass(action gnet.Action) gnet.Action {
	if action != gnet.Shutdown || !x.flights.any() {
		return action
	}
	x.mu.Lock()
	e := x.engine
	x.mu.Unlock()
	now, cancel := context.WithCancel(context.Background())
	cancel() // ask only, do not wait
	if err := e.Stop(now); err == nil || errors.Is(err, context.Canceled) {
		return gnet.None
	}
	return action // the engine of a gnet.Client, which has no Stop
}
