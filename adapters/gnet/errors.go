package gnetring

import "errors"

// Errors that calls and Closed callbacks of this package wrap, beside those of package
// reactor (ErrClosed, ErrInvalid, ErrRegistered) and errors.ErrUnsupported on systems
// other than Linux. Test for them with errors.Is.
var (
	// ErrConnClosed says that the connection which a ring is attached to is closed.
	ErrConnClosed = errors.New("connection is closed")

	// ErrNotEnrolled says that gnet did not take a doorbell: no descriptors or watches
	// are left, most likely.
	ErrNotEnrolled = errors.New("gnet did not take the doorbell")

	// ErrRoute says that the route that was asked for cannot be had for this doorbell.
	ErrRoute = errors.New("no such route for this doorbell")
)

var (
	errPeerLeft   = errors.New("the doorbell's other end was closed")
	errNoCallback = errors.New("nobody takes clients")
)
