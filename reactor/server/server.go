package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring/handoff"
	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

// A Server serves rings of T to clients. Make one with New and run it once, with
// Serve. Its methods may be called from any goroutine.
type Server[T any] struct {
	handler   Handler[T]
	cfg       Config
	counters  counters
	conns     sync.WaitGroup // accepted and not yet released
	listening chan struct{}
	ended     chan struct{} // closed when Serve has cleaned up
	drained   bool          // all connections ended by themselves; written before ended

	mu         sync.Mutex
	shut       bool // Shutdown was called
	reactor    *reactor.Reactor
	homes      []*home[T]
	stop, kill context.CancelFunc // stop accepting; stop draining. nil before Serve
}

// New makes a server, which does nothing and holds no descriptor before Serve. The
// errors match ringbuf.ErrItemType if T cannot be an item, and ErrInvalid if h has
// no Ready.
func New[T any](h Handler[T], cfg Config) (*Server[T], error) {
	if err := ringbuf.CheckType[T](); err != nil {
		return nil, fmt.Errorf("server: new: %w", err)
	}
	if h.Ready == nil {
		return nil, fmt.Errorf("server: new: no Ready: %w", ErrInvalid)
	}
	return &Server[T]{
		handler:   h,
		cfg:       cfg.withDefaults(),
		listening: make(chan struct{}),
		ended:     make(chan struct{}),
	}, nil
}

// Listening is closed when Serve has made the socket and clients can connect.
func (s *Server[T]) Listening() <-chan struct{} { return s.listening }

// Serve listens at path (see [handoff.Listen]) and serves until ctx ends or
// Shutdown is called. The end of ctx closes all connections with ErrClosed; what is
// in the rings then is lost to the server. Serve returns when the last callback
// has: nil when it was asked to end, else why it could not begin or go on. If it
// could not begin it may be called again; otherwise a second call returns an error
// that matches ErrClosed.
func (s *Server[T]) Serve(ctx context.Context, path string) error {
	hard, kill := context.WithCancel(ctx)
	defer kill()
	soft, stop := context.WithCancel(hard)
	defer stop()
	listener, err := s.start(path, stop, kill)
	if err != nil {
		return fmt.Errorf("server: serve at %q: %w", path, err)
	}
	defer close(s.ended)
	loops := make(chan error, 1)
	go func() {
		defer kill()
		loops <- s.reactor.Run(context.Background())
	}()
	close(s.listening)
	if err = s.accept(soft, listener); err != nil {
		kill()
	}
	err = errors.Join(err, listener.Close())
	gone := s.drain(hard)
	err = errors.Join(err, s.reactor.Close()) // ends what is left
	if loopErr := <-loops; !errors.Is(loopErr, reactor.ErrClosed) {
		err = errors.Join(err, loopErr)
	}
	<-gone
	if err != nil {
		return fmt.Errorf("server: serve at %q: %w", path, err)
	}
	return nil
}

// start makes what Serve needs.
func (s *Server[T]) start(path string, stop, kill context.CancelFunc) (*handoff.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut || s.reactor != nil {
		return nil, fmt.Errorf("a server serves once: %w", ErrClosed)
	}
	r, err := reactor.New(s.cfg.Loops, s.cfg.Reactor...)
	if err != nil {
		return nil, err
	}
	var homes []*home[T]
	for _, l := range r.Loops() {
		homes = append(homes, &home[T]{loop: l, period: s.cfg.Sweep})
	}
	listener, err := handoff.Listen(path, s.cfg.Handoff)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	s.reactor, s.homes, s.stop, s.kill = r, homes, stop, kill
	return listener, nil
}

// accept takes clients in until ctx ends.
func (s *Server[T]) accept(ctx context.Context, l *handoff.Listener) error {
	for {
		conn, err := l.Accept(ctx)
		switch {
		case err == nil:
			s.admit(conn)
		case ctx.Err() != nil:
			return nil
		default:
			return err
		}
	}
}

// admit opens the ends of a client's rings and gives them to a loop. The ends are
// opened here, so that no loop waits for memory to be mapped.
func (s *Server[T]) admit(link *handoff.Conn) {
	c, err := s.newConn(link)
	if err != nil {
		s.refused(link, err)
		_ = link.Close()
		return
	}
	s.conns.Add(1)
	c.home = s.place()
	if err := c.home.loop.Post(c.begin); err != nil {
		s.refused(link, err)
		c.release()
	}
}

// place returns the loop with the fewest connections, counting those that it has
// not seen yet.
func (s *Server[T]) place() *home[T] {
	least := s.homes[0]
	for _, h := range s.homes[1:] {
		if h.load.Load() < least.load.Load() {
			least = h
		}
	}
	least.load.Add(1)
	return least
}

func (s *Server[T]) refused(link *handoff.Conn, err error) {
	s.counters.refused.Add(1)
	peer := link.Peer()
	s.cfg.Logger.Warn("ring client refused", "pid", peer.PID, "uid", peer.UID, "error", err)
}

// drain lets the connections receive what was sent, until they are done or ctx
// ends. gone is closed when there are none.
func (s *Server[T]) drain(ctx context.Context) (gone chan struct{}) {
	gone = make(chan struct{})
	go func() {
		s.conns.Wait()
		close(gone)
	}()
	if ctx.Err() == nil {
		for _, h := range s.homes {
			_ = h.loop.Post(h.drain) // it fails only if the loop failed, which ends ctx
		}
	}
	select {
	case <-gone:
		s.drained = true
	case <-ctx.Done():
	}
	return gone
}

// Shutdown ends Serve gracefully: no client is accepted any more; what clients sent
// until now is received through Ready; a connection whose ring is empty is closed,
// with nil for Close. A client learns of it by the end of the connection, and what
// it sends meanwhile may be lost; what the server sent stays readable for it. A
// client that is just connecting may be closed before Open. When ctx ends the connections that are left are closed with ErrClosed, and the error
// matches ctx's. Shutdown returns after the last callback; it must not be called in
// one.
func (s *Server[T]) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.shut = true
	stop, kill := s.stop, s.kill
	s.mu.Unlock()
	if stop == nil {
		return nil // not begun, and it will not
	}
	stop()
	defer context.AfterFunc(ctx, kill)()
	<-s.ended
	switch {
	case s.drained:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("server: shutdown: %w", ctx.Err())
	default:
		return fmt.Errorf("server: shutdown: cut short: %w", ErrClosed)
	}
}

func sizeOf[T any]() int {
	var zero T
	return int(unsafe.Sizeof(zero))
}
