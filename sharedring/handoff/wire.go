package handoff

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The wire. All integers are native-endian, as in the ring itself; magic is a
// number, so a peer of the other byte order shows itself there. Both messages
// begin with the same 8 bytes, in every version:
//
//	offset  bytes  field
//	     0      4  magic     0x504f4f4c ("LOOP" in memory on a little-endian machine)
//	     4      2  version   1
//	     6      2  kind      1 request, 2 reply
//
// Request, client to server, 32 bytes, sent once, right after connecting, and
// without descriptors:
//
//	 8      4  direction 1 out, 2 in, 3 both, as the client sees it
//	12      4  reserved  0
//	16      8  item size, bytes
//	24      8  capacity, items
//
// Reply, server to client, 48 bytes in one sendmsg(2):
//
//	 8      2  status    0 ok; else see Status
//	10      2  reason    0, or the detail of a status that is not ok; see Reason
//	12      4  rings     1 or 2; 0 if the status is not ok
//	16      8  ring 0: capacity, items
//	24      8  ring 0: item size, bytes
//	32      8  ring 1: capacity, items; 0 if there is none
//	40      8  ring 1: item size, bytes; 0 if there is none
//
// A reply with status ok carries, in one SCM_RIGHTS message that comes with its
// first byte, exactly three descriptors for each ring, in this order: memory,
// empty-signal, full-signal. Ring 0 of two is the one on which the client sends.
// Any other reply carries none, and the server closes the socket after it.
// Capacity and item size are those of the request.
//
// After the reply the socket is the lifeline. The one thing ever sent on it, in
// either direction, is the farewell, one byte 0x04, before a side closes it. A
// farewell is a clean end. End of file, ECONNRESET or death by the pidfd without
// a farewell is a crash. Any other byte breaks the protocol.
const (
	magic   uint32 = 0x504f4f4c
	version uint16 = 1

	kindRequest uint16 = 1
	kindReply   uint16 = 2

	requestSize = 32
	replySize   = 48

	fdsPerRing = 3
	maxRings   = 2

	farewell byte = 0x04
)

var native = binary.NativeEndian

func putHeader(b []byte, kind uint16) {
	native.PutUint32(b[0:], magic)
	native.PutUint16(b[4:], version)
	native.PutUint16(b[6:], kind)
}

// checkHeader returns ReasonNone if b is a message of this kind that we can read.
func checkHeader(b []byte, kind uint16) Reason {
	switch {
	case native.Uint32(b[0:]) != magic || native.Uint16(b[6:]) != kind:
		return ReasonMagic
	case native.Uint16(b[4:]) != version:
		return ReasonVersion
	}
	return ReasonNone
}

func encodeRequest(r Request) []byte {
	b := make([]byte, requestSize)
	putHeader(b, kindRequest)
	native.PutUint32(b[8:], uint32(r.Direction))
	native.PutUint64(b[16:], uint64(r.ItemSize))
	native.PutUint64(b[24:], uint64(r.Capacity))
	return b
}

// decodeRequest reads a client's request. Values that do not fit the Request are
// refused here; whether the others make sense is for Request.check.
func decodeRequest(b []byte) (Request, Reason) {
	if reason := checkHeader(b, kindRequest); reason != ReasonNone {
		return Request{}, reason
	}
	direction, itemSize, capacity := native.Uint32(b[8:]), native.Uint64(b[16:]), native.Uint64(b[24:])
	switch {
	case direction > math.MaxUint8:
		return Request{}, ReasonDirection
	case native.Uint32(b[12:]) != 0:
		return Request{}, ReasonReserved
	case itemSize > math.MaxInt:
		return Request{}, ReasonItemSize
	case capacity > math.MaxInt:
		return Request{}, ReasonCapacity
	}
	return Request{ItemSize: int(itemSize), Capacity: int(capacity), Direction: Direction(direction)}, ReasonNone
}

// A reply is the server's answer. capacities has one element for each ring.
type reply struct {
	status     Status
	reason     Reason
	capacities []int
	itemSize   int
}

func encodeReply(r reply) []byte {
	b := make([]byte, replySize)
	putHeader(b, kindReply)
	native.PutUint16(b[8:], uint16(r.status))
	native.PutUint16(b[10:], uint16(r.reason))
	native.PutUint32(b[12:], uint32(len(r.capacities)))
	for i, capacity := range r.capacities {
		native.PutUint64(b[16+16*i:], uint64(capacity))
		native.PutUint64(b[24+16*i:], uint64(r.itemSize))
	}
	return b
}

// decodeReply reads the answer to req and returns the capacity of each ring. The
// error is a *RefusedError if the server said no.
func decodeReply(b []byte, req Request) ([]int, error) {
	if reason := checkHeader(b, kindReply); reason != ReasonNone {
		return nil, fmt.Errorf("wrong %s in the reply (%x): %w", reason, b[:8], ErrProtocol)
	}
	if status := Status(native.Uint16(b[8:])); status != StatusOK {
		return nil, &RefusedError{Status: status, Reason: Reason(native.Uint16(b[10:]))}
	}
	if rings := native.Uint32(b[12:]); rings != uint32(req.rings()) {
		return nil, fmt.Errorf("reply with %d rings instead of %d: %w", rings, req.rings(), ErrProtocol)
	}
	capacities := make([]int, req.rings())
	for i := range capacities {
		capacity, itemSize := native.Uint64(b[16+16*i:]), native.Uint64(b[24+16*i:])
		if itemSize != uint64(req.ItemSize) {
			return nil, fmt.Errorf("ring %d has items of %d bytes instead of %d: %w", i, itemSize, req.ItemSize, ErrProtocol)
		}
		// More would have us map, and allocate, what we never asked for.
		if capacity != uint64(req.Capacity) {
			return nil, fmt.Errorf("ring %d has a capacity of %d items instead of %d: %w", i, capacity, req.Capacity, ErrProtocol)
		}
		capacities[i] = int(capacity)
	}
	return capacities, nil
}
