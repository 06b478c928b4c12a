package handoff

import (
	"errors"
	"fmt"
)

// Errors that calls of this package wrap, beside sharedring.ErrPeerGone,
// sharedring.ErrClosed, ringbuf.ErrRange for a request that cannot be, the errors
// of a context, and system call errors. Test for them with errors.Is.
var (
	// ErrRefused is returned by Dial when the server said no. The error is a
	// *RefusedError, which says why.
	ErrRefused = errors.New("refused by the server")

	// ErrQuota is returned, beside ErrRefused, when a quota of the server is used up.
	ErrQuota = errors.New("quota used up")

	// ErrProtocol is returned when the other side does not speak the protocol:
	// magic, version, sizes or the number of descriptors are wrong.
	ErrProtocol = errors.New("handoff protocol violated")

	// ErrNoRing is returned by In and Out when the connection has no ring in that
	// direction, or when it was taken before.
	ErrNoRing = errors.New("no such ring, or taken before")
)

// Status is the server's answer in short; the value is that of the wire.
type Status uint16

// The statuses.
const (
	StatusOK          Status = 0
	StatusDenied      Status = 1 // the server's policy does not want this peer
	StatusQuota       Status = 2 // the peer's uid has used up a quota
	StatusInvalid     Status = 3 // the request breaks the protocol
	StatusUnavailable Status = 4 // the server cannot serve now
)

func (s Status) String() string {
	switch s {
	case StatusOK:
		return "ok"
	case StatusDenied:
		return "denied"
	case StatusQuota:
		return "quota"
	case StatusInvalid:
		return "invalid request"
	case StatusUnavailable:
		return "unavailable"
	}
	return fmt.Sprintf("status %d", uint16(s))
}

// Reason is the detail of a Status; the value is that of the wire. A newer server
// may send values that are not listed here.
type Reason uint16

// The reasons.
const (
	ReasonNone        Reason = 0
	ReasonRings       Reason = 1  // quota: number of rings
	ReasonBytes       Reason = 2  // quota: bytes of ring memory
	ReasonMagic       Reason = 3  // invalid: wrong magic, kind or byte order
	ReasonVersion     Reason = 4  // invalid: a version that the server does not speak
	ReasonReserved    Reason = 5  // invalid: a reserved field is not 0
	ReasonDirection   Reason = 6  // invalid: no such direction
	ReasonItemSize    Reason = 7  // invalid: item size
	ReasonCapacity    Reason = 8  // invalid: capacity, or capacity times item size
	ReasonDescriptors Reason = 9  // invalid: the request carried descriptors
	ReasonTruncated   Reason = 10 // invalid: the request ended early
	ReasonDeadline    Reason = 11 // unavailable: the request came too late
	ReasonBusy        Reason = 12 // unavailable: too many handshakes; try again
	ReasonResources   Reason = 13 // unavailable: no descriptors or memory left
	ReasonClosing     Reason = 14 // unavailable: the listener is being closed
	ReasonRequest     Reason = 15 // denied: the server serves no such request
)

var reasonTexts = []string{
	ReasonNone:        "",
	ReasonRings:       "number of rings",
	ReasonBytes:       "bytes of memory",
	ReasonMagic:       "magic or byte order",
	ReasonVersion:     "protocol version",
	ReasonReserved:    "reserved field not 0",
	ReasonDirection:   "direction",
	ReasonItemSize:    "item size",
	ReasonCapacity:    "capacity",
	ReasonDescriptors: "descriptors in the request",
	ReasonTruncated:   "request ended early",
	ReasonDeadline:    "request came too late",
	ReasonBusy:        "too many handshakes",
	ReasonResources:   "no descriptors or memory left",
	ReasonClosing:     "server is closing",
	ReasonRequest:     "no such request is served",
}

func (r Reason) String() string {
	if int(r) < len(reasonTexts) {
		return reasonTexts[r]
	}
	return fmt.Sprintf("reason %d", uint16(r))
}

// RefusedError is the server's no. It matches ErrRefused, and also ErrQuota or
// ErrProtocol if that is what the status says.
type RefusedError struct {
	Status Status
	Reason Reason
}

func (e *RefusedError) Error() string {
	text := ErrRefused.Error() + ": " + e.Status.String()
	if e.Reason != ReasonNone {
		text += " (" + e.Reason.String() + ")"
	}
	return text
}

// Is lets errors.Is find the sentinels.
func (e *RefusedError) Is(target error) bool {
	switch target {
	case ErrRefused:
		return true
	case ErrQuota:
		return e.Status == StatusQuota
	case ErrProtocol:
		return e.Status == StatusInvalid
	}
	return false
}
