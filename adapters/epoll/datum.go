package epoll

import "encoding/binary"

// DirectTag and NestedTag are the top 16 bits of the data, 64 bits each, of all that
// this package puts into a host's epoll set: data of the host's own must not have
// them. Descriptors do not, sign-extended or not, in the Fd field of a unix.EpollEvent
// or in all 64 bits. Nor do pointers: amd64 gives a process no addresses with the top
// bit set, and arm64, where programs may mark pointers in the top byte, none with bit 55
// set. A host that keeps two 32-bit numbers there has to stay below 0xA5E10000 with
// the one in Pad (on big-endian machines with the one in Fd).
const (
	DirectTag = 0xA5E1
	NestedTag = 0xA5E2
)

const tokenBits = 48

// datum is a tag and a token of 48 bits, as a C program has them in epoll_data_t.
type datum uint64

func newDatum(tag, token uint64) datum { return datum(tag<<tokenBits | token) }

func (d datum) tag() uint64   { return uint64(d >> tokenBits) }
func (d datum) token() uint64 { return uint64(d & (1<<tokenBits - 1)) }

// datumOf reads the datum of ev. Package unix has it as two halves, Fd first, so which
// of them has the top bits depends on the byte order.
func datumOf(ev *Event) datum {
	var b [8]byte
	binary.NativeEndian.PutUint32(b[:4], uint32(ev.Fd))
	binary.NativeEndian.PutUint32(b[4:], uint32(ev.Pad))
	return datum(binary.NativeEndian.Uint64(b[:]))
}

func (d datum) put(ev *Event) {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], uint64(d))
	ev.Fd = int32(binary.NativeEndian.Uint32(b[:4]))
	ev.Pad = int32(binary.NativeEndian.Uint32(b[4:]))
}
