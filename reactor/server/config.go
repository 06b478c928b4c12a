package server

import (
	"log/slog"
	"time"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

// A Handler is what happens on a connection. T is the item, in both directions.
// The functions run on the goroutine of the connection's loop and must not block:
// meanwhile no other connection of that loop is served.
type Handler[T any] struct {
	// Open is called first, before anything is received. An error refuses the
	// client, and then neither Ready nor Close follows. Open may be nil.
	Open func(c *Conn[T]) error
	// Ready is one turn: take or send a batch, and return. It is called while
	// there is something to receive; once at the beginning; when there is room
	// again after a send that came up short; and when the client is gone. So it may
	// find nothing to do. What it leaves in the ring gets another turn at once,
	// after those of others; see [Conn.Pause].
	//
	// An error ends the connection. Those of the Receiver and of Send are meant to
	// be returned as they are: io.EOF is a clean end.
	Ready func(c *Conn[T]) error
	// Close is the last callback, called once for each connection that Open took.
	// The rings can still be used in it; they and the descriptors are closed when
	// it returns. Close may be nil. err is
	//
	//   - nil after a clean end: by the client, or by Shutdown, with all received;
	//   - ErrClosed if this side closed the connection or the server;
	//   - sharedring.ErrPeerGone if the client died or broke the lifeline's rules;
	//   - ringbuf.ErrCorrupt if the client damaged the ring;
	//   - a *reactor.PanicError after a panic in Ready;
	//   - else what Ready returned, or a failed system call.
	//
	// Test for them with errors.Is and errors.As.
	Close func(c *Conn[T], err error)
}

// Config is how a Server works. The zero value serves processes of the same user.
type Config struct {
	// Handoff says who may have rings, how many and how large.
	Handoff handoff.Config
	// Rings are options for the ends that the server opens, such as
	// sharedring.WithoutPrefault or sharedring.TrustPeer.
	Rings []sharedring.Option
	// Reactor are options for the loops, such as reactor.WithSpin. Their logger is
	// one of its own.
	Reactor []reactor.Option
	// Loops is the number of goroutines that serve. 0 or less stands for
	// GOMAXPROCS.
	Loops int
	// Logger is told about clients that were refused and connections that ended
	// badly (Warn), and about all others (Debug). nil is silence.
	Logger *slog.Logger
	// Sweep is how often each loop looks at rings that nobody rang for: 0 stands
	// for a second, less than 0 for never. Clients that keep the rules need no
	// sweep. It bounds the damage of one that was stopped, or has a bug, between an
	// item and its doorbell. It costs a look at each ring, and nothing where there
	// are no connections.
	Sweep time.Duration
}

const defaultSweep = time.Second

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Sweep == 0 {
		c.Sweep = defaultSweep
	}
	return c
}
