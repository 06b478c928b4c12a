package main

import (
	"encoding/binary"
	"fmt"
	"time"
)

// A record is a frame: sequence number and time of sending (Unix nanoseconds), 8
// bytes each, then the payload. The last record of a ring has endTime as its time,
// the number of records before it as its sequence number, and the doorbells that
// its sender rang as its payload.
const (
	recordHeader = 16
	endTime      = -1
)

func putHeader(record []byte, sequence uint64, at int64) {
	binary.NativeEndian.PutUint64(record, sequence)
	binary.NativeEndian.PutUint64(record[8:], uint64(at))
}

func now() int64 { return time.Now().UnixNano() }

// endRecord is the last record of a ring.
func endRecord(records, doorbells uint64) []byte {
	b := make([]byte, recordHeader+8)
	putHeader(b, records, endTime)
	binary.NativeEndian.PutUint64(b[recordHeader:], doorbells)
	return b
}

// parseRecord returns the parts of a frame. Contents are ours to check: a peer may
// send anything.
func parseRecord(frame []byte) (sequence uint64, at int64, payload []byte, err error) {
	if len(frame) < recordHeader {
		return 0, 0, nil, fmt.Errorf("record of %d bytes, at least %d expected", len(frame), recordHeader)
	}
	sequence = binary.NativeEndian.Uint64(frame)
	at = int64(binary.NativeEndian.Uint64(frame[8:]))
	if at == endTime && len(frame) != recordHeader+8 {
		return 0, 0, nil, fmt.Errorf("last record of %d bytes, %d expected", len(frame), recordHeader+8)
	}
	return sequence, at, frame[recordHeader:], nil
}

// track follows the sequence numbers of one ring.
type track struct {
	next    uint64
	missing map[uint64]bool // numbers that were skipped and may still come
	counts  counts
}

// counts are what must be 0 at the end.
type counts struct{ lost, duplicated, reordered uint64 }

// maxMissing bounds the memory that a peer's numbers can cost.
const maxMissing = 1 << 16

func (t *track) see(sequence uint64) {
	switch {
	case sequence == t.next:
		t.next++
	case sequence > t.next:
		t.skipTo(sequence)
		t.next++
	case t.missing[sequence]:
		delete(t.missing, sequence)
		t.counts.lost--
		t.counts.reordered++
	default:
		t.counts.duplicated++
	}
}

// skipTo counts everything before sequence that was not seen as lost, for now.
func (t *track) skipTo(sequence uint64) {
	if sequence <= t.next {
		return
	}
	if t.missing == nil {
		t.missing = map[uint64]bool{}
	}
	t.counts.lost += sequence - t.next
	for n := t.next; n < sequence && len(t.missing) < maxMissing; n++ {
		t.missing[n] = true
	}
	t.next = sequence
}
