package scenario

import (
	"fmt"

	"github.com/shmloop/shmloop/stress/harness"
)

// minSize is the room for a sequence number, with which every message begins.
const minSize = 8

func tooSmall(p harness.Params) error {
	return fmt.Errorf("scenario: messages of %d bytes have no room for a sequence number of %d", p.Size, minSize)
}

// message returns a buffer for messages of size bytes whose memory is there: pages
// that were never written to are one page of zeros.
func message(size int) []byte {
	const page = 4 << 10
	m := make([]byte, size)
	for i := 0; i < size; i += page {
		m[i] = 1
	}
	return m
}
