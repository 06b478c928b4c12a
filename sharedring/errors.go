package sharedring

import "errors"

// Errors that calls of this package wrap, beside those of ringbuf (ErrCorrupt,
// ErrItemType, ErrTooSmall, ErrRange), of memfd (ErrNotSealed, ErrNotMemfd,
// ErrTooSmall) and [errors.ErrUnsupported] on systems other than Linux. Test for
// them with errors.Is.
var (
	// ErrClosed is returned by calls on an end after its Close.
	ErrClosed = errors.New("ring end is closed")

	// ErrPeerGone is returned once [Sender.HangUp] or [Receiver.HangUp] has told
	// that the peer ended, or a socket doorbell has; a receiver returns what is left
	// in the ring first.
	ErrPeerGone = errors.New("peer is gone")

	// ErrDoorbell is returned for a descriptor that cannot be a doorbell, or not
	// any more.
	ErrDoorbell = errors.New("not a doorbell")

	// ErrHandleTaken is returned by the second Handle call on an end with socket
	// doorbells: the first has given the peer's ends away.
	ErrHandleTaken = errors.New("handle was taken before")

	// ErrFrame is returned for a frame that is larger than its reader allows, or
	// too large for the wire.
	ErrFrame = errors.New("frame too large")

	// ErrBacklog is returned by a non-blocking frame send while a part of the frame
	// before still waits for room.
	ErrBacklog = errors.New("part of an earlier frame still waits for room")
)
