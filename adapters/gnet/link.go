package gnetring

import (
	"fmt"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/shmloop/shmloop/reactor"
)

// A link is a connection with the rings that are attached to it. A nil link is that of
// a ring without one.
type link struct {
	conn    gnet.Conn
	request request

	mu     sync.Mutex
	rings  map[*Registration]struct{}
	gone   bool    // the connection is closed
	client *Client // nil: a connection of the user's
}

// AttachConn attaches a ring to a connection: it is serviced on the connection's event
// loop, so its callbacks and those of the connection need no lock between them. When the
// connection closes, Closed is told ErrConnClosed before OnClose is called; Ready is not
// called any more, but what is left in the ring can be taken in Closed. When the ring ends
// or its Registration is closed, the connection is closed. A ring that is not to share a
// connection's fate is attached to its event loop, with Rings.Loop.
//
// Errors are those of Loop.Attach.
func (x *Rings) AttachConn(c gnet.Conn, s reactor.Source, h reactor.Handler, opts ...AttachOption) (*Registration, error) {
	if c == nil {
		return nil, fmt.Errorf("gnetring: attach: nil connection: %w", reactor.ErrInvalid)
	}
	l, err := x.Loop(c.EventLoop())
	if err != nil {
		return nil, err
	}
	k := x.linkOf(c)
	r, err := l.attach(s, h, k, opts)
	// Called elsewhere than on the event loop, this may be too late for OnClose.
	_ = l.Post(func() {
		if released(c) {
			x.endLink(c, nil)
		}
	})
	return r, err
}

// released says on c's event loop whether OnClose is over. gnet forgets the addresses
// then.
func released(c gnet.Conn) bool { return c.LocalAddr() == nil && c.RemoteAddr() == nil }

func (x *Rings) linkOf(c gnet.Conn) *link {
	k, _ := x.conns.LoadOrStore(c, &link{conn: c, rings: make(map[*Registration]struct{})})
	return k.(*link)
}

func (x *Rings) lookUp(c gnet.Conn) *link {
	if k, ok := x.conns.Load(c); ok {
		return k.(*link)
	}
	return nil
}

// endLink is OnClose for the rings of c. err is what gnet says: nil if this side
// closed it.
func (x *Rings) endLink(c gnet.Conn, err error) {
	v, ok := x.conns.LoadAndDelete(c)
	if !ok {
		return
	}
	k := v.(*link)
	k.request.stop()
	k.mu.Lock()
	k.gone = true
	client := k.client
	k.mu.Unlock()
	if client != nil {
		client.connClosed(x.find(c.EventLoop()), err)
		return
	}
	cause := fmt.Errorf("gnetring: %w", ErrConnClosed)
	if err != nil {
		cause = fmt.Errorf("gnetring: %w: %v", ErrConnClosed, err) // not wrapped: an io.EOF would pass for a ring's
	}
	k.fail(x.find(c.EventLoop()), cause)
}

// fail ends the rings, now if it is not called inside the callback of one.
func (k *link) fail(l *Loop, cause error) {
	k.mu.Lock()
	var rings []*Registration
	for r := range k.rings {
		rings = append(rings, r)
	}
	k.mu.Unlock()
	for _, r := range rings {
		r.fail(cause)
	}
	if l == nil {
		return
	}
	// One round does, but for a ring that is hot, which has to be asked first, and for
	// one that somebody pauses again.
	for end := time.Now().Add(time.Millisecond); !k.empty() && time.Now().Before(end); {
		if _, err := l.turn(0); err != nil {
			return
		}
	}
}

func (k *link) empty() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.rings) == 0
}

func (k *link) add(r *Registration) error {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone && (k.client == nil || k.client.freed) {
		return ErrConnClosed
	}
	k.rings[r] = struct{}{}
	return nil
}

// forget undoes add.
func (k *link) forget(r *Registration) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.rings, r)
	if k.client != nil {
		k.client.freeIfDone()
	}
}

// ended is told that a ring is not serviced any more and why, nil if its Registration was
// closed. It is for any goroutine.
func (k *link) ended(r *Registration, cause error) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.rings[r]; !ok {
		return
	}
	delete(k.rings, r)
	if k.client == nil {
		k.close()
	} else {
		k.client.ringEnded(cause)
	}
}

// close needs k.mu: gnet may not be asked for anything once the event loop is gone, and
// OnClose of all connections comes before.
func (k *link) close() {
	if !k.gone {
		_ = k.conn.Close()
	}
}
