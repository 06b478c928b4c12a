package gnetring

import (
	"context"
	"fmt"

	"github.com/panjf2000/gnet/v2"
)

// A bell wakes an event loop, and shows by its end that the event loop ends. It is a
// pair of sockets, both of them connections of gnet's, which are rung in turn. So between
// two wakes gnet looks at all its sockets. It does not between two tasks of
// EventLoop.Execute, nor, if it is edge-triggered, between two reads of one connection,
// which it reads until nothing comes. The fields need the loop's lock.
type bell struct {
	fds   [2]int // of the pair: what is written to one comes to the other. -1 when closed
	conns [2]gnet.Conn
	next  int  // the side to ring
	rung  bool // and not yet answered
}

// side is one side of a bell, as gnet's connection.
type side struct {
	loop *Loop
	i    int
}

func (l *Loop) openBell() error {
	fds, err := pair()
	if err != nil {
		return err
	}
	l.bell.fds = fds
	for i, fd := range fds {
		if err := l.openSide(i, fd); err != nil {
			l.mu.Lock() // the other side may be open by now
			defer l.mu.Unlock()
			l.bell.close()
			return err
		}
	}
	return nil
}

func (l *Loop) openSide(i, fd int) error {
	conn, err := connOf(fd)
	if err != nil {
		return err
	}
	return l.rings.enrol(conn, side{l, i}, func(ctx context.Context) (<-chan gnet.RegisteredResult, error) {
		return l.el.Enroll(ctx, conn)
	})
}

// ring needs l.mu.
func (l *Loop) ring() {
	b := &l.bell
	if b.rung || b.fds[0] < 0 {
		return
	}
	b.rung = true
	_ = sendByte(b.fds[1-b.next]) // fails only when gnet closed the other end, at the event loop's end
}

// answer needs l.mu.
func (b *bell) answer(i int) { b.rung, b.next = false, 1-i }

func (b *bell) close() {
	if b.fds[0] < 0 {
		return
	}
	for i, fd := range b.fds {
		_ = closeDescriptor(fd)
		b.fds[i] = -1
		if b.conns[i] != nil {
			_ = b.conns[i].Close()
		}
	}
}

func (s side) opened(c gnet.Conn) gnet.Action {
	l := s.loop
	l.goroutine.Store(goroutineID())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bell.fds[0] < 0 {
		return gnet.Close
	}
	l.bell.conns[s.i] = c
	return gnet.None
}

func (s side) readable(int) {
	l := s.loop
	l.mu.Lock()
	l.bell.answer(s.i)
	l.mu.Unlock()
	l.rung()
}

func (s side) closed(err error) {
	l := s.loop
	l.mu.Lock()
	l.bell.conns[s.i] = nil
	if err != nil && l.bell.fds[0] >= 0 && l.cause == nil {
		l.cause = fmt.Errorf("gnetring: gnet closed the bell of its loop: %w", err)
	}
	l.mu.Unlock()
	l.end() // gnet closes all connections of an event loop that ends
}

func (s side) failed(err error) { s.loop.fail(err) }
