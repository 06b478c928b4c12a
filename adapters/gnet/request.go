package gnetring

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/shmloop/shmloop/sharedring/handoff"
)

// WithHandshake gives rings to clients that call handoff.Dial on a unix address of
// the engine, beside the program's own protocol: the first bytes of a connection tell
// which it is. The rings are made here, because gnet's reads drop descriptors. cfg is the
// policy, with MaxPending left out: half a request costs no more than a connection.
//
// onClient is called on the client's event loop when it has its rings. It opens its ends
// and attaches them; an error closes the connection. It may hand that to another
// goroutine instead: opening a large ring takes as long as the kernel needs to clear its
// pages.
//
// Descriptors cannot be sent to these addresses then, which gnet would drop anyhow (from
// Linux 6.16 on).
//
// A client's connection is passed on to OnOpen, where nothing can be known of it yet, and
// to OnClose, but not to OnTraffic. A handler that greets in OnOpen cannot have
// clients at the same address: they take the greeting for an answer.
func WithHandshake(cfg handoff.Config, onClient func(*Client) error) Option {
	return func(x *Rings) {
		if onClient == nil {
			onClient = func(*Client) error { return errNoCallback }
		}
		x.granter, x.onClient = handoff.NewGranter(cfg), onClient
		if x.timeout = cfg.Timeout; x.timeout <= 0 {
			x.timeout = defaultTimeout
		}
	}
}

const defaultTimeout = 5 * time.Second

// magic is what a request begins with (docs/PROTOCOL.md).
var magic = binary.NativeEndian.AppendUint32(nil, 0x504f4f4c)

// A request is what the first bytes of a connection may be.
type request struct {
	expected bool // of the event loop

	mu    sync.Mutex
	over  bool // it came, or the connection is closed
	timer *time.Timer
}

// expectRequest is called when c opens.
func (x *Rings) expectRequest(c gnet.Conn) {
	if x.granter == nil || c.LocalAddr() == nil || c.LocalAddr().Network() != "unix" || !x.listensAt(c.LocalAddr().String()) {
		return // also a connection of the program's own making, which has another address
	}
	refuseRights(c.Fd())
	x.linkOf(c).request.expected = true
}

// listensAt says whether the engine listens at a unix address. gnet's read closes
// descriptors that come with what it reads, and the close of a socket can be made to
// take as long as the peer likes (SO_LINGER). So none may come there: connections take that
// over from the listener, also before they open (Linux 6.16; nothing happens before).
func (x *Rings) listensAt(address string) bool {
	if _, known := x.listeners.Load(address); known {
		return true
	}
	x.mu.Lock()
	e := x.engine
	x.mu.Unlock()
	fd, err := e.DupListener("unix", address)
	if err != nil {
		return false
	}
	refuseRights(fd)
	_ = closeDescriptor(fd)
	x.listeners.Store(address, true)
	return true
}

// handshake looks at what came on c. It is the user's if mine is false.
func (x *Rings) handshake(c gnet.Conn) (action gnet.Action, mine bool) {
	k := x.lookUp(c)
	if k == nil {
		return gnet.None, false
	}
	if client := k.clientOf(); client != nil {
		return client.lifeline(), true
	}
	n := c.InboundBuffered()
	if !k.request.expected || n == 0 { // 0: Conn.Wake
		return gnet.None, false
	}
	head, err := c.Peek(min(n, handoff.RequestSize))
	if err != nil || !begins(head) {
		k.request.expected = false
		k.request.stop()
		return gnet.None, false
	}
	if n < handoff.RequestSize {
		k.request.limit(x.timeout, k)
		return gnet.None, true
	}
	head = slices.Clone(head)
	_, _ = c.Discard(handoff.RequestSize)
	k.request.stop()
	return x.grant(k, head), true
}

// begins says whether a request begins like b, which may be as short as a byte.
func begins(b []byte) bool {
	if len(b) < len(magic) {
		return bytes.HasPrefix(magic, b)
	}
	return handoff.IsRequest(b)
}

// limit closes the connection unless the rest of the request comes in time.
func (q *request) limit(d time.Duration, k *link) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.timer != nil {
		return
	}
	q.timer = time.AfterFunc(d, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if !q.over { // so it is open
			_ = k.conn.Close()
		}
	})
}

// stop is called when the request came and when the connection closes.
func (q *request) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over = true
	if q.timer != nil {
		q.timer.Stop()
	}
}
