//go:build linux

package sharedring_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/sharedring"
)

func framePair(t testing.TB, limit int) (*sharedring.FrameSender, *sharedring.FrameReceiver, *sharedring.Sender[byte], *sharedring.Receiver[byte]) {
	tx, rx := pair[byte](t, 1) // 4032 bytes
	return sharedring.NewFrameSender(tx), sharedring.NewFrameReceiver(rx, limit), tx, rx
}

// randomFrame has a content that says where a byte is missing.
func randomFrame(rnd *rand.Rand, size int) []byte {
	frame := make([]byte, size)
	for i := range frame {
		frame[i] = byte(rnd.Uint32())
	}
	return frame
}

func TestFault50FramesOfAnySize(t *testing.T) {
	sizes := []int{0, 1, 3, 4, 5, 4027, 4028, 4029, 4032, 5000, 100_000, 1 << 20}
	fs, fr, _, _ := framePair(t, 1<<20)
	done := make(chan error, 1)
	go func() {
		rnd := rand.New(rand.NewPCG(1, 1))
		for range 3 {
			for _, size := range sizes {
				if err := fs.SendContext(context.Background(), randomFrame(rnd, size)); err != nil {
					done <- err
					return
				}
			}
		}
		done <- nil
	}()
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 3 {
		for _, size := range sizes {
			frame, err := fr.NextContext(t.Context())
			require.NoError(t, err)
			require.True(t, bytes.Equal(randomFrame(rnd, size), frame), "frame of %d bytes", size)
		}
	}
	require.NoError(t, <-done)
}

func TestFramesWithoutWaiting(t *testing.T) {
	fs, fr, _, _ := framePair(t, 1<<20)
	rndTx, rndRx := rand.New(rand.NewPCG(2, 2)), rand.New(rand.NewPCG(2, 2))
	received := 0
	for sent := 0; received < 200; {
		size := 1 + sent*37%9000
		switch err := fs.Send(randomFrame(rndTx, size)); {
		case err == nil:
			sent++
		default:
			require.ErrorIs(t, err, sharedring.ErrBacklog)
			// Not taken: the generator goes back to where the frame began.
			rndTx = rand.New(rand.NewPCG(2, 2))
			for i := range sent {
				randomFrame(rndTx, 1+i*37%9000)
			}
		}
		frame, ok, err := fr.Next()
		require.NoError(t, err)
		if ok {
			want := randomFrame(rndRx, 1+received*37%9000)
			require.True(t, bytes.Equal(want, frame), "frame %d", received)
			received++
		}
	}
}

func TestFrameIsOnePublication(t *testing.T) {
	fs, fr, tx, rx := framePair(t, 100)
	require.NoError(t, fs.Send([]byte("hello")))
	n, err := rx.Available()
	require.NoError(t, err)
	require.Equal(t, 9, n)
	require.EqualValues(t, 1, tx.Doorbells())
	frame, ok, err := fr.Next()
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "hello", string(frame))
	_, ok, err = fr.Next()
	require.NoError(t, err)
	require.False(t, ok)
}

func TestFrameAboveTheLimit(t *testing.T) {
	fs, fr, _, _ := framePair(t, 10)
	require.NoError(t, fs.Send(make([]byte, 11)))
	for range 2 {
		_, _, err := fr.Next()
		require.ErrorIs(t, err, sharedring.ErrFrame, "and for good")
	}
}

// A frame that was cut off ends the frames: the other side could not find the next.
func TestFrameCutByItsContext(t *testing.T) {
	fs, _, _, _ := framePair(t, 1<<20)
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	<-ctx.Done()
	require.ErrorIs(t, fs.SendContext(ctx, make([]byte, 100_000)), context.DeadlineExceeded)
	for _, err := range []error{fs.Send(nil), fs.SendContext(t.Context(), nil)} {
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	_, err := fs.Flush()
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// The peer chooses the length: it must not choose how much we allocate.
func TestHostileFrameLength(t *testing.T) {
	tx, rx := pair[byte](t, 100)
	_, err := tx.Send(binary.NativeEndian.AppendUint32(nil, 1<<32-1))
	require.NoError(t, err)
	_, _, err = sharedring.NewFrameReceiver(rx, 1<<20).Next()
	require.ErrorIs(t, err, sharedring.ErrFrame)
}

func TestFrameCutByTheEnd(t *testing.T) {
	for _, sent := range []string{"\x05", "\x05\x00\x00\x00he"} {
		_, fr, tx, rx := framePair(t, 100)
		_, err := tx.Send([]byte(sent))
		require.NoError(t, err)
		rx.HangUp(nil)
		_, _, err = fr.Next()
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
	_, fr, _, rx := framePair(t, 100)
	rx.HangUp(nil)
	_, _, err := fr.Next()
	require.Equal(t, io.EOF, err)
	_, err = fr.NextContext(t.Context())
	require.Equal(t, io.EOF, err)
}

func TestFramesDoNotAllocate(t *testing.T) {
	fs, fr, _, _ := framePair(t, 1000)
	frame := make([]byte, 500)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_ = fs.Send(frame)
		_, _, _ = fr.Next()
		_ = fs.SendContext(context.Background(), frame)
		_, _ = fr.NextContext(context.Background())
	}))
}

func TestStream(t *testing.T) {
	tx, rx := pair[byte](t, 1)
	text := strings.Repeat("what a reader should see\n", 2000)
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(sharedring.NewWriter(context.Background(), tx), strings.NewReader(text))
		rx.HangUp(nil)
		done <- err
	}()
	require.NoError(t, iotest.TestReader(sharedring.NewReader(t.Context(), rx), []byte(text)))
	require.NoError(t, <-done)
}

func TestStreamWriteTo(t *testing.T) {
	tx, rx := pair[byte](t, 1)
	text := strings.Repeat("what a writer should get\n", 2000)
	done := make(chan error, 1)
	go func() {
		_, err := io.WriteString(sharedring.NewWriter(context.Background(), tx), text)
		rx.HangUp(nil)
		done <- err
	}()
	var got bytes.Buffer
	n, err := io.Copy(&got, sharedring.NewReader(t.Context(), rx))
	require.NoError(t, err)
	require.EqualValues(t, len(text), n)
	require.Equal(t, text, got.String())
	require.NoError(t, <-done)
}

func TestStreamWriteToFails(t *testing.T) {
	tx, rx := pair[byte](t, 1)
	_, err := tx.Send([]byte("abc"))
	require.NoError(t, err)
	broken := errors.New("disk full")
	_, err = io.Copy(failing{broken}, sharedring.NewReader(t.Context(), rx))
	require.ErrorIs(t, err, broken)
	n, err := rx.Available()
	require.NoError(t, err)
	require.Equal(t, 3, n, "what was not written is still there")
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
