package reactor_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// I4: frames of any length are echoed in callbacks, those larger than the ring in
// parts, in both directions. A callback never waits: while an answer waits for room
// the requests are paused.
func TestInvariant04FramesLargerThanTheRingWithRealRings(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		holds(t, func(t *testing.T, hold sharedring.Option) {
			g := newRig(t, spin)
			in, out := newRing[byte](g, 4000, hold), newRing[byte](g, 4000, hold)
			g.run()
			g.do(func() { attachEcho(g, in.rx, out.tx) })

			frames := framesAround(in.tx.Len())
			ctx, cancel := in.context()
			defer cancel()
			sent := make(chan error, 1)
			go func() {
				tx := sharedring.NewFrameSender(in.tx)
				var err error
				for i := 0; i < len(frames) && err == nil; i++ {
					err = tx.SendContext(ctx, frames[i])
				}
				sent <- err
			}()
			rx := sharedring.NewFrameReceiver(out.rx, 1<<20)
			for i, want := range frames {
				got, err := rx.NextContext(ctx)
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, got), "frame %d", i)
			}
			require.NoError(t, <-sent)
		})
	})
}

// framesAround returns frames that just fit a ring of that many bytes, that just do
// not, and others.
func framesAround(length int) (frames [][]byte) {
	for range 2 {
		for _, size := range []int{0, 1, 3, length / 2, length - 5, length - 4, length - 3, length, length + 1, 3 * length, 20_001} {
			frame := make([]byte, size)
			for i := range frame {
				frame[i] = byte(i + i>>8 + len(frames))
			}
			frames = append(frames, frame)
		}
	}
	return frames
}

// attachEcho must be called on the loop.
func attachEcho(g *rig, in *sharedring.Receiver[byte], out *sharedring.Sender[byte]) {
	rx, tx := sharedring.NewFrameReceiver(in, 1<<20), sharedring.NewFrameSender(out)
	var requests, answers *reactor.Registration
	requests = g.attach(in, endsWithLoop(g.t, func(reactor.Event) error {
		frame, ok, err := rx.Next()
		if !ok || err != nil {
			return err
		}
		if err := tx.Send(frame); err != nil {
			return err
		}
		done, err := tx.Flush()
		if !done && err == nil {
			requests.Pause()
			err = answers.Resume() // its end came up short outside its turn: it has to be armed
		}
		return err
	}))
	answers = g.attach(out, endsWithLoop(g.t, func(reactor.Event) error {
		done, err := tx.Flush()
		if done && err == nil {
			err = requests.Resume()
		}
		return err
	}))
}
