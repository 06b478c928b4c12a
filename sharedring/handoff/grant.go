package handoff

import (
	"errors"
	"fmt"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/sharedring"
)

const (
	// RequestSize is the length of a request in bytes. A client sends nothing more
	// before it has the reply.
	RequestSize = requestSize

	// Farewell is the byte that a peer sends on its lifeline before a clean end.
	Farewell = farewell
)

// A Granter gives rings on connections that are not a Listener's: those that an event
// loop of the program's own, such as gnet's, accepted and reads from. Its peers are
// clients that call [Dial].
//
// The loop collects the first [RequestSize] bytes of a connection for [Granter.Grant].
// The connection is the lifeline from then on: after the byte [Farewell] its end
// is a clean one, and its end alone is a crash. The methods may be called from any
// goroutine.
type Granter struct{ admission }

// NewGranter makes a Granter. MaxPending and Timeout of the Config are up to the loop
// and have no effect.
func NewGranter(cfg Config) *Granter { return &Granter{newAdmission(cfg.withDefaults())} }

// IsRequest says whether b begins as a request does. It is false for fewer than 4
// bytes.
func IsRequest(b []byte) bool { return len(b) >= 4 && native.Uint32(b) == magic }

// Grant answers request, which came on the unix stream socket fd, with the rings that
// it asks for. fd is borrowed. If it was refused the peer was told so, the error is
// a [*RefusedError], and the connection should be closed.
func (g *Granter) Grant(fd int, request []byte) (*Grant, error) {
	grant, refusal := g.grant(fd, request)
	if refusal == nil {
		return grant, nil
	}
	_ = sendMessage(fd, encodeReply(reply{status: refusal.Status, reason: refusal.Reason}), nil)
	return nil, fmt.Errorf("handoff: grant on descriptor %d: %w", fd, refusal)
}

func (g *Granter) grant(fd int, request []byte) (*Grant, *RefusedError) {
	peer, err := credentials(fd)
	if err != nil {
		return nil, &RefusedError{StatusUnavailable, ReasonResources}
	}
	if err := g.cfg.Allow(peer); err != nil {
		return nil, &RefusedError{StatusDenied, ReasonNone}
	}
	if len(request) != RequestSize {
		return nil, &RefusedError{StatusInvalid, ReasonTruncated}
	}
	req, reason := decodeRequest(request)
	if reason != ReasonNone {
		return nil, &RefusedError{StatusInvalid, reason}
	}
	release, refusal := g.authorize(peer, req)
	if refusal != nil {
		return nil, refusal
	}
	made, err := g.make(req)
	if err == nil {
		err = made.send(func(b []byte, fds []int) error { return sendMessage(fd, b, fds) })
	}
	if err != nil {
		release()
		return nil, &RefusedError{StatusUnavailable, ReasonResources}
	}
	refuseRights(fd) // gnet reads without looking for them
	return &Grant{peer: peer, request: req, release: release, ends: made.ends()}, nil
}

// A Grant is what a client was given by a [Granter].
type Grant struct {
	peer    Peer
	request Request
	release func()
	ends    ends
	closed  bool
}

// Peer returns who the client is.
func (g *Grant) Peer() Peer { return g.peer }

// Request returns what the client asked for.
func (g *Grant) Request() Request { return g.request }

// In returns the ring on which this side receives. Its descriptors are the caller's.
// The error matches [ErrNoRing] if there is none or it was taken before.
func (g *Grant) In() (sharedring.Handle, error) { return g.ends.take(&g.ends.in, "in", g.request) }

// Out returns the ring on which this side sends, as In does.
func (g *Grant) Out() (sharedring.Handle, error) { return g.ends.take(&g.ends.out, "out", g.request) }

// Close gives the quota back, and closes rings that were not taken. Call it when the
// connection has ended and its rings are closed. It is idempotent, but not for
// several goroutines at once.
func (g *Grant) Close() error {
	if g.closed {
		return nil
	}
	g.closed = true
	g.ends.discard()
	g.release()
	return nil
}

// ends are one side's rings of a connection; nil where there is none, or not any more.
type ends struct{ in, out *sharedring.Handle }

func (e *ends) take(from **sharedring.Handle, name string, req Request) (sharedring.Handle, error) {
	h := *from
	if h == nil {
		return sharedring.Handle{}, fmt.Errorf("handoff: take the %s ring of a request for %s: %w", name, req.Direction, ErrNoRing)
	}
	*from = nil
	return *h, nil
}

func (e *ends) discard() {
	for _, h := range []*sharedring.Handle{e.in, e.out} {
		if h != nil {
			memfd.Discard(h.Memory, h.EmptySignal, h.FullSignal)
		}
	}
	*e = ends{}
}

// admission is what a Listener and a Granter decide by.
type admission struct {
	cfg   Config
	quota *quota
}

func newAdmission(cfg Config) admission {
	return admission{cfg: cfg, quota: &quota{maxRings: cfg.MaxRingsPerUID, maxBytes: cfg.MaxBytesPerUID, used: make(map[uint32]usage)}}
}

// authorize takes the quota for what a peer that Allow let in asks for.
func (a *admission) authorize(peer Peer, req Request) (release func(), refusal *RefusedError) {
	bytes, reason, err := req.check()
	if err != nil {
		return nil, &RefusedError{StatusInvalid, reason}
	}
	if a.cfg.Accept != nil {
		if err := a.cfg.Accept(peer, req); err != nil {
			return nil, &RefusedError{StatusDenied, ReasonRequest}
		}
	}
	release, reason = a.quota.take(peer.UID, req.rings(), bytes)
	if reason != ReasonNone {
		return nil, &RefusedError{StatusQuota, reason}
	}
	return release, nil
}

// rings are those of one request, in the order of the reply. Each side has descriptors
// of its own.
type rings struct {
	request Request
	ours    []*sharedring.Handle
	theirs  []*sharedring.Handle
}

func (a *admission) make(req Request) (rings, error) {
	made := rings{request: req}
	for _, d := range []Direction{Out, In} { // seen from the client
		if req.Direction&d == 0 {
			continue
		}
		if err := made.add(d, a.cfg.SocketDoorbells); err != nil {
			made.close()
			return rings{}, err
		}
	}
	return made, nil
}

func (r *rings) add(d Direction, sockets bool) error {
	var opts []sharedring.Option
	if sockets {
		opts = append(opts, sharedring.WithSocketDoorbells())
	}
	sender, receiver, err := sharedring.CreatePair(r.request.Capacity, r.request.ItemSize, opts...)
	if err != nil {
		return err
	}
	ours, theirs := &receiver, &sender
	if d == In {
		ours, theirs = theirs, ours
	}
	r.ours, r.theirs = append(r.ours, ours), append(r.theirs, theirs)
	return nil
}

// send gives the client its ends with one message. Sending copies the descriptors, so
// they are closed here. After an error all of the rings are closed.
func (r *rings) send(message func(b []byte, fds []int) error) error {
	answer := reply{itemSize: r.request.ItemSize}
	var fds []int
	for _, h := range r.theirs {
		answer.capacities = append(answer.capacities, h.Capacity)
		fds = append(fds, h.Memory, h.EmptySignal, h.FullSignal)
	}
	err := message(encodeReply(answer), fds)
	if err != nil {
		r.close()
		return err
	}
	return closeHandles(r.theirs)
}

func (r *rings) close() {
	_ = closeHandles(r.theirs)
	_ = closeHandles(r.ours)
}

func closeHandles(handles []*sharedring.Handle) error {
	var errs []error
	for _, h := range handles {
		errs = append(errs, h.Close())
	}
	return errors.Join(errs...)
}

// ends are this side's.
func (r *rings) ends() ends {
	sent, received := byDirection(r.request.Direction, r.ours) // by the client
	return ends{in: sent, out: received}
}
