package reactor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A thousand rings with much to do each must not keep a socket waiting for a whole
// round over them.
func TestDescriptorsGoBeforeAThousandBusyRings(t *testing.T) {
	h := newHarness(t)
	slow := func(Event) error { // a big batch
		for start := time.Now(); time.Since(start) < lookEvery/clockEvery; {
		}
		return nil
	}
	for range 1000 {
		f := h.ring()
		f.count.Store(1) // never consumed
		h.attach(f, Handler{Ready: slow})
	}
	r, w := h.pipe()
	told := 0
	h.register(r, Readable, Handler{Ready: func(Event) error {
		told++
		_, err := unix.Read(r, make([]byte, 8))
		return err
	}})
	poll := func() int {
		n, err := h.Poll(0)
		require.NoError(t, err)
		return n
	}
	poll()
	for i := range 10 {
		ringBell(t, w)
		turns := poll()
		require.Equal(t, i+1, told)
		require.Less(t, turns, 100, "turns of rings in one round")
		require.Greater(t, turns, clockEvery, "but rings get their share")
	}
}
