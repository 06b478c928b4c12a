package gnetring

import (
	"context"
	"net"

	"github.com/panjf2000/gnet/v2"
)

// A watch is a doorbell that gnet itself waits on, as one of its connections.
type watch struct {
	loop *Loop
	ring *Registration

	// Under the loop's lock.
	conn    gnet.Conn // nil before OnOpen and after OnClose
	stopped bool
}

// watchEnrolled needs l.mu.
func (l *Loop) watchEnrolled(r *Registration, fd int) (watched, error) {
	var conn net.Conn
	var err error
	if r.route == RouteEventfd {
		conn, err = disguise(fd)
	} else {
		conn, err = connOf(fd)
	}
	if err != nil {
		return nil, err
	}
	w := &watch{loop: l, ring: r}
	err = l.rings.enrol(conn, w, func(ctx context.Context) (<-chan gnet.RegisteredResult, error) {
		return l.el.Enroll(ctx, conn)
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// stop may come before the connection is open. It never closes it at once: that might
// be inside of gnet's read of it, which goes on with the descriptor.
func (w *watch) stop() error {
	w.loop.mu.Lock()
	defer w.loop.mu.Unlock()
	w.stopped = true
	if w.conn == nil {
		return nil
	}
	return w.conn.Close() // its loop is not over, or it would be nil
}

func (w *watch) opened(c gnet.Conn) gnet.Action {
	w.loop.mu.Lock()
	if w.stopped {
		w.loop.mu.Unlock()
		return gnet.Close
	}
	w.conn = c
	w.loop.mu.Unlock()
	w.loop.edge(w.ring.token) // data may be older than the enrolment
	return gnet.None
}

func (w *watch) readable(n int) {
	if w.ring.route == RouteSocket {
		if s, ok := w.ring.source.(hearer); ok {
			s.Heard(n)
		}
	}
	w.loop.edge(w.ring.token)
}

func (w *watch) closed(err error) {
	w.loop.mu.Lock()
	w.conn = nil
	stopped := w.stopped
	w.loop.mu.Unlock()
	switch {
	case stopped:
	case err == nil:
		w.loop.end() // gnet closes all connections of an event loop that ends
	default:
		w.ring.peerLeft()
	}
}

func (w *watch) failed(err error) {
	w.loop.mu.Lock()
	stopped := w.stopped
	w.loop.mu.Unlock()
	if !stopped {
		w.ring.fail(err)
	}
}
