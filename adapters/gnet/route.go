package gnetring

import "fmt"

// A Route is how the edges of a ring's doorbell reach gnet's event loop.
type Route uint8

const (
	// RouteEventfd has gnet wait on the eventfd itself, disguised as a connection, and
	// read it. It is the quickest, and only for peers that are trusted: they share the
	// descriptor, and one that clears O_NONBLOCK on it and empties it at the right moment
	// makes gnet's read block, and the event loop with it.
	RouteEventfd Route = iota + 1
	// RouteRelay waits on the doorbell in an epoll of this package, on one goroutine for
	// each event loop, which wakes that loop once for all edges that it found. Nothing is
	// read from the doorbell. It takes any doorbell and costs a hop between threads.
	RouteRelay
	// RouteSocket has gnet wait on a doorbell that is a socket, and read it. The flags of
	// this end are not the peer's, so it cannot make the read block, and the peer's
	// death is an end of file.
	RouteSocket
)

// String returns "eventfd", "relay" or "socket".
func (r Route) String() string {
	switch r {
	case RouteEventfd:
		return "eventfd"
	case RouteRelay:
		return "relay"
	case RouteSocket:
		return "socket"
	}
	return fmt.Sprintf("Route(%d)", uint8(r))
}

// AttachOption changes how one ring is attached.
type AttachOption func(*attachment)

type attachment struct {
	route   Route // 0: choose
	trusted bool
}

// TrustPeer says that the ring's peer is trusted, as sharedring.TrustPeer does for the
// other direction: an eventfd takes RouteEventfd then, unless that fails.
func TrustPeer() AttachOption { return func(a *attachment) { a.trusted = true } }

// WithRoute asks for a route. Attach fails with an error that matches ErrRoute if the
// doorbell is of another kind. Without it a socket takes RouteSocket, the eventfd of
// a trusted peer RouteEventfd, and all else RouteRelay. That includes the socket of
// a peer that is not trusted on a kernel before Linux 6.16: a peer can put descriptors into
// a socket there, gnet's read closes them, and the close of a socket can be made to take
// as long as the peer likes (SO_LINGER).
func WithRoute(r Route) AttachOption { return func(a *attachment) { a.route = r } }

// choose returns the route for fd. If nobody asked for it, fallback is true: RouteRelay
// may stand in for it.
func (a attachment) choose(fd int) (r Route, fallback bool, err error) {
	kind := doorbellKind(fd)
	switch {
	case a.route != 0:
		if a.route != RouteRelay && a.route != kind {
			return 0, false, fmt.Errorf("gnetring: route %s for descriptor %d: %w", a.route, fd, ErrRoute)
		}
		return a.route, false, nil
	case kind == RouteSocket && refusesRights(fd), kind != 0 && a.trusted:
		return kind, true, nil
	}
	return RouteRelay, true, nil
}
