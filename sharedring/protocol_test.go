//go:build linux

package sharedring_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/sharedring"
)

// vector returns a block of the test vectors in docs/PROTOCOL.md.
func vector(t *testing.T, name string) string {
	t.Helper()
	doc, err := os.ReadFile("../docs/PROTOCOL.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(doc), "```vector "+name+"\n")
	require.True(t, found, "no vector %q", name)
	block, _, found := strings.Cut(rest, "```")
	require.True(t, found)
	return block
}

func hexVector(t *testing.T, name string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(vector(t, name)), ""))
	require.NoError(t, err)
	return b
}

func skipBigEndian(t *testing.T) {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the vectors are of a little-endian machine")
	}
}

func TestProtocolVectorsOfTheRing(t *testing.T) {
	skipBigEndian(t)
	tx, rx := pair[uint16](t, 3, sharedring.WithHold(0))
	require.Equal(t, 2016, tx.Len())
	h, err := tx.Handle()
	require.NoError(t, err)
	defer h.Close()
	first72 := func() []byte {
		b := make([]byte, 72)
		_, err := unix.Pread(h.Memory, b, 0)
		require.NoError(t, err)
		return b
	}
	_, err = tx.Send([]uint16{0x0102, 0x0304, 0x0506})
	require.NoError(t, err)
	require.Equal(t, hexVector(t, "ring-sent"), first72())
	_, err = rx.Receive(make([]uint16, 1))
	require.NoError(t, err)
	require.Equal(t, hexVector(t, "ring-received"), first72())
}

func TestProtocolVectorsOfLengths(t *testing.T) {
	lengths := map[int]func(capacity int) int{
		1: lengthOf[byte], 8: lengthOf[uint64], 24: lengthOf[[24]byte],
		4000: lengthOf[[4000]byte], 2000: lengthOf[[2000]byte], 1300: lengthOf[[1300]byte],
	}
	for _, line := range strings.Split(strings.TrimSpace(vector(t, "lengths")), "\n") {
		var capacity, size, length int
		_, err := fmt.Sscan(line, &capacity, &size, &length)
		require.NoError(t, err)
		require.Equal(t, length, lengths[size](capacity), line)
	}
}

func lengthOf[T any](capacity int) int {
	tx, err := sharedring.NewSender[T](capacity)
	if err != nil {
		return -1
	}
	defer tx.Close()
	return tx.Len()
}

func TestProtocolVectorsOfFrames(t *testing.T) {
	skipBigEndian(t)
	fs, _, _, rx := framePair(t, 10)
	require.NoError(t, fs.Send(nil))
	require.NoError(t, fs.Send([]byte("hi")))
	got := make([]byte, 100)
	n, err := rx.Receive(got)
	require.NoError(t, err)
	require.Equal(t, hexVector(t, "frames"), got[:n])
}
