package handoff

import (
	"fmt"
	"math"

	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

// Direction says which way items go, as the client that asks sees it.
type Direction uint8

// The directions. Duplex is two rings, one each way, of the same size.
const (
	Out    Direction = 1 // the client sends, the server receives
	In     Direction = 2 // the client receives, the server sends
	Duplex           = Out | In
)

func (d Direction) String() string {
	switch d {
	case Out:
		return "out"
	case In:
		return "in"
	case Duplex:
		return "duplex"
	}
	return fmt.Sprintf("Direction(%d)", uint8(d))
}

// Request is what a client asks for. A server that expects a certain item type
// compares ItemSize with it before it opens an end; the wire does not know types.
type Request struct {
	ItemSize  int       // bytes of an item
	Capacity  int       // items that each ring must be able to hold
	Direction Direction // Out, In or Duplex
}

func (r Request) rings() int {
	if r.Direction == Duplex {
		return 2
	}
	return 1
}

// pageSize is the unit in which ring memory is counted, on every machine.
const pageSize = 4096

// check returns the bytes of memory for all rings of the request. A failure comes
// with the reason to tell a client.
func (r Request) check() (bytes int64, reason Reason, err error) {
	if r.Direction != Out && r.Direction != In && r.Direction != Duplex {
		return 0, ReasonDirection, fmt.Errorf("handoff: direction %d is none of out, in and duplex: %w", uint8(r.Direction), ringbuf.ErrRange)
	}
	if r.ItemSize <= 0 {
		return 0, ReasonItemSize, fmt.Errorf("handoff: items of %d bytes: %w", r.ItemSize, ringbuf.ErrRange)
	}
	n, err := ringbuf.Bytes(r.Capacity, r.ItemSize)
	if err != nil {
		return 0, ReasonCapacity, fmt.Errorf("handoff: %w", err)
	}
	rings := int64(r.rings())
	if int64(n) > math.MaxInt64/rings-pageSize {
		return 0, ReasonCapacity, fmt.Errorf("handoff: %d rings of %d items of %d bytes overflow: %w", rings, r.Capacity, r.ItemSize, ringbuf.ErrRange)
	}
	rounded := (int64(n) + pageSize - 1) &^ (pageSize - 1)
	return rings * rounded, ReasonNone, nil
}
