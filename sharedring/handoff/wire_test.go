package handoff

import (
	"bytes"
	"encoding/hex"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

// fields builds a message from its fields, each with its width in bytes.
func fields(pairs ...uint64) []byte {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		switch width, v := pairs[i], pairs[i+1]; width {
		case 2:
			b = native.AppendUint16(b, uint16(v))
		case 4:
			b = native.AppendUint32(b, uint32(v))
		case 8:
			b = native.AppendUint64(b, v)
		}
	}
	return b
}

func TestWireRequestLayout(t *testing.T) {
	req := Request{ItemSize: 24, Capacity: 1000, Direction: Duplex}
	want := fields(4, 0x504f4f4c, 2, 1, 2, 1, 4, 3, 4, 0, 8, 24, 8, 1000)
	require.Len(t, want, requestSize)
	require.Equal(t, want, encodeRequest(req))

	got, reason := decodeRequest(want)
	require.Equal(t, ReasonNone, reason)
	require.Equal(t, req, got)
}

func TestWireReplyLayout(t *testing.T) {
	for _, c := range []struct {
		name  string
		reply reply
		want  []byte
	}{
		{"one ring", reply{capacities: []int{1000}, itemSize: 24},
			fields(4, 0x504f4f4c, 2, 1, 2, 2, 2, 0, 2, 0, 4, 1, 8, 1000, 8, 24, 8, 0, 8, 0)},
		{"duplex", reply{capacities: []int{1000, 1001}, itemSize: 24},
			fields(4, 0x504f4f4c, 2, 1, 2, 2, 2, 0, 2, 0, 4, 2, 8, 1000, 8, 24, 8, 1001, 8, 24)},
		{"refused", reply{status: StatusQuota, reason: ReasonBytes},
			fields(4, 0x504f4f4c, 2, 1, 2, 2, 2, 2, 2, 2, 4, 0, 8, 0, 8, 0, 8, 0, 8, 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Len(t, c.want, replySize)
			require.Equal(t, c.want, encodeReply(c.reply))
		})
	}
}

// The vectors of docs/PROTOCOL.md.
func TestProtocolVectors(t *testing.T) {
	if native.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the vectors are of a little-endian machine")
	}
	doc, err := os.ReadFile("../../docs/PROTOCOL.md")
	require.NoError(t, err)
	for name, got := range map[string][]byte{
		"handoff-request": encodeRequest(Request{ItemSize: 24, Capacity: 1000, Direction: Duplex}),
		"handoff-reply":   encodeReply(reply{capacities: []int{1000, 1000}, itemSize: 24}),
		"handoff-refused": encodeReply(reply{status: StatusQuota, reason: ReasonBytes}),
	} {
		_, rest, found := strings.Cut(string(doc), "```vector "+name+"\n")
		require.True(t, found, name)
		block, _, _ := strings.Cut(rest, "```")
		want, err := hex.DecodeString(strings.Join(strings.Fields(block), ""))
		require.NoError(t, err)
		require.Equal(t, want, got, name)
	}
}

func TestWireReplyDecoded(t *testing.T) {
	one := Request{ItemSize: 24, Capacity: 1000, Direction: In}
	capacities, err := decodeReply(encodeReply(reply{capacities: []int{1000}, itemSize: 24}), one)
	require.NoError(t, err)
	require.Equal(t, []int{1000}, capacities)

	two := Request{ItemSize: 24, Capacity: 1000, Direction: Duplex}
	capacities, err = decodeReply(encodeReply(reply{capacities: []int{1000, 1000}, itemSize: 24}), two)
	require.NoError(t, err)
	require.Equal(t, []int{1000, 1000}, capacities)
}

func TestWireRequestRefused(t *testing.T) {
	good := encodeRequest(Request{ItemSize: 8, Capacity: 16, Direction: Out})
	for _, c := range []struct {
		name   string
		offset int
		value  []byte
		want   Reason
	}{
		{"magic", 0, fields(4, 0x4c4f4f50), ReasonMagic},
		{"other byte order", 0, []byte{0x50, 0x4f, 0x4f, 0x4c}, ReasonMagic},
		{"version", 4, fields(2, 2), ReasonVersion},
		{"a reply", 6, fields(2, 2), ReasonMagic},
		{"direction", 8, fields(4, 0x101), ReasonDirection},
		{"reserved", 12, fields(4, 1), ReasonReserved},
		{"item size", 16, fields(8, math.MaxUint64), ReasonItemSize},
		{"capacity", 24, fields(8, 1<<63), ReasonCapacity},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bytes.Clone(good)
			copy(b[c.offset:], c.value)
			if bytes.Equal(b, good) {
				t.Skip("this is the byte order of this machine")
			}
			_, reason := decodeRequest(b)
			require.Equal(t, c.want, reason)
		})
	}
}

func TestWireReplyRefused(t *testing.T) {
	req := Request{ItemSize: 8, Capacity: 16, Direction: Out}
	good := encodeReply(reply{capacities: []int{16}, itemSize: 8})
	for _, c := range []struct {
		name   string
		offset int
		value  []byte
	}{
		{"magic", 0, fields(4, 0)},
		{"version", 4, fields(2, 9)},
		{"a request", 6, fields(2, 1)},
		{"no ring", 12, fields(4, 0)},
		{"too many rings", 12, fields(4, 2)},
		{"smaller capacity", 16, fields(8, 15)},
		{"larger capacity", 16, fields(8, 17)},
		{"huge capacity", 16, fields(8, math.MaxUint64)},
		{"item size", 24, fields(8, 9)},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bytes.Clone(good)
			copy(b[c.offset:], c.value)
			_, err := decodeReply(b, req)
			require.ErrorIs(t, err, ErrProtocol)
			require.NotErrorIs(t, err, ErrRefused)
		})
	}
}

func TestRequestCheck(t *testing.T) {
	for _, c := range []struct {
		req  Request
		want Reason
	}{
		{Request{8, 16, 0}, ReasonDirection},
		{Request{8, 16, 4}, ReasonDirection},
		{Request{0, 16, Out}, ReasonItemSize},
		{Request{-8, 16, Out}, ReasonItemSize},
		{Request{8, 0, Out}, ReasonCapacity},
		{Request{8, -1, Out}, ReasonCapacity},
		{Request{8, math.MaxInt, Out}, ReasonCapacity},
		{Request{1, math.MaxInt - ringbuf.HeaderSize, Out}, ReasonCapacity},      // rounding overflows
		{Request{1, math.MaxInt/2 - ringbuf.HeaderSize, Duplex}, ReasonCapacity}, // the sum overflows
	} {
		_, reason, err := c.req.check()
		require.ErrorIs(t, err, ringbuf.ErrRange, "%+v", c.req)
		require.Equal(t, c.want, reason, "%+v", c.req)
	}

	for _, c := range []struct {
		req  Request
		want int64
	}{
		{Request{8, 1, Out}, 4096},
		{Request{8, 504, In}, 4096}, // 64 + 504*8 is the page
		{Request{8, 505, In}, 8192},
		{Request{8, 505, Duplex}, 16384},
	} {
		bytes, _, err := c.req.check()
		require.NoError(t, err)
		require.Equal(t, c.want, bytes, "%+v", c.req)
	}
}

func TestRefusedError(t *testing.T) {
	quota := error(&RefusedError{StatusQuota, ReasonBytes})
	require.ErrorIs(t, quota, ErrRefused)
	require.ErrorIs(t, quota, ErrQuota)
	require.NotErrorIs(t, quota, ErrProtocol)
	require.EqualError(t, quota, "refused by the server: quota (bytes of memory)")

	invalid := error(&RefusedError{StatusInvalid, ReasonVersion})
	require.ErrorIs(t, invalid, ErrRefused)
	require.ErrorIs(t, invalid, ErrProtocol)
	require.NotErrorIs(t, invalid, ErrQuota)

	require.EqualError(t, &RefusedError{StatusDenied, ReasonNone}, "refused by the server: denied")
	require.EqualError(t, &RefusedError{77, 99}, "refused by the server: status 77 (reason 99)")
}

func FuzzDecode(f *testing.F) {
	f.Add(encodeRequest(Request{ItemSize: 8, Capacity: 16, Direction: Out}))
	f.Add(encodeReply(reply{capacities: []int{16, 16}, itemSize: 8}))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append(b, make([]byte, replySize)...)[:replySize]
		if req, reason := decodeRequest(b[:requestSize]); reason == ReasonNone {
			require.Equal(t, b[:requestSize], encodeRequest(req))
		}
		req := Request{ItemSize: 8, Capacity: 16, Direction: Duplex}
		if capacities, err := decodeReply(b, req); err == nil {
			require.Len(t, capacities, 2)
		}
	})
}
