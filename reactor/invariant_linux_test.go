package reactor

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The rules of signalling as far as a loop has a part in them. That a sender
// splits what does not fit is a matter of the ring alone.

// I1: the loop leaves a ring alone only after Arm found it empty.
func TestInvariant01SleepsOnlyAfterAnEmptyLook(t *testing.T) {
	h := newHarness(t)
	f := h.ring()
	var total atomic.Int64
	late := 3
	f.arm = func() error {
		if late > 0 {
			late--
			f.count.Add(1) // comes between Pending and the look of Arm, with no edge
		}
		return nil
	}
	h.attach(f, takeAll(f, &total))
	h.poll()
	require.EqualValues(t, 3, total.Load())
	require.Zero(t, late)
	require.False(t, h.readable())
}

// I2: what remains after a turn is queued again, with no edge from the peer.
func TestInvariant02RemainderIsQueuedAgain(t *testing.T) {
	h := newHarness(t)
	f := h.ring()
	var total int64
	h.attach(f, Handler{Ready: func(Event) error {
		total += f.take(1)
		return nil
	}})
	f.send(40)
	h.poll()
	require.EqualValues(t, 40, total)
	require.Zero(t, f.count.Load())
}

// I3: a sender's end sleeps until its receiver makes room, and is called then.
func TestInvariant03SenderIsCalledWhenThereIsRoom(t *testing.T) {
	const length, items = 3, 1000
	h := newHarness(t)
	tx := &fakeSender{fakeRing: h.ring(), length: length}
	empty := h.eventfd()
	sent := int64(0)
	h.attach(tx, Handler{Ready: func(Event) error {
		for sent < items && tx.count.Load() < length {
			sent++
			if tx.count.Add(1) == 1 {
				ringBell(t, empty)
			}
		}
		tx.wants = sent < items
		return nil
	}})
	received := int64(0)
	h.register(empty, Readable|EdgeTriggered, Handler{Ready: func(Event) error {
		n := tx.count.Load()
		for n > 0 {
			received += n
			if tx.count.Add(-n)+n >= length {
				ringBell(t, tx.bell)
			}
			n = tx.count.Load()
		}
		return nil
	}})
	for received < items {
		n, err := h.Poll(-1)
		require.NoError(t, err)
		require.NotZero(t, n)
	}
	require.EqualValues(t, items, received)
}

// fakeSender is the sender's end of a fakeRing.
type fakeSender struct {
	*fakeRing
	length int64
	wants  bool
}

func (f *fakeSender) Pending() (bool, error) { return f.wants && f.count.Load() < f.length, nil }
func (f *fakeSender) Arm() (bool, error)     { return f.Pending() }

// I5: an edge that comes in the middle of a turn gives another turn.
func TestInvariant05EdgeWhileRunning(t *testing.T) {
	h := newHarness(t)
	f := h.ring()
	turns := 0
	var reg *Registration
	reg = h.attach(f, Handler{Ready: func(Event) error {
		turns++
		if turns == 1 {
			require.NoError(t, reg.Resume())
			require.NoError(t, reg.Resume())
		}
		return nil
	}})
	h.poll()
	require.Equal(t, 2, turns)
}

// I6: a ring that has more to do goes to the tail.
func TestInvariant06RequeuesAtTheTail(t *testing.T) {
	h := newHarness(t)
	var order strings.Builder
	for _, name := range []string{"a", "b", "c"} {
		f := h.ring()
		h.attach(f, Handler{Ready: func(Event) error {
			if f.take(1) > 0 {
				order.WriteString(name)
			}
			return nil
		}})
		f.send(4)
	}
	h.poll()
	require.Equal(t, "abcabcabcabc", order.String())
}

// I7: what was written before the registration is found without an edge.
func TestInvariant07ServedOnceAfterAttach(t *testing.T) {
	h := newHarness(t)
	f := h.ring()
	f.send(5)
	readFull(t, f.bell) // a third party drained the doorbell: no edge will come
	var total atomic.Int64
	h.attach(f, takeAll(f, &total))
	require.True(t, h.readable())
	h.poll()
	require.EqualValues(t, 5, total.Load())
}

// I8: each write to the doorbell is an edge, and nobody reads the doorbell.
func TestInvariant08DoorbellIsNeverRead(t *testing.T) {
	h := newHarness(t)
	f := h.ring()
	var total atomic.Int64
	h.attach(f, takeAll(f, &total))
	h.poll()
	before := h.Stats()
	for range 1000 {
		f.send(1)
		h.poll()
	}
	require.EqualValues(t, 1000, total.Load())
	require.EqualValues(t, 1000, h.Stats().Edges-before.Edges)
	require.EqualValues(t, 1000, h.Stats().Services-before.Services)
	require.Equal(t, nativeUint64(1000), readFull(t, f.bell))
}

// I9: a callback that fails or panics costs no other ring an edge.
func TestInvariant09FailureLosesNoEdge(t *testing.T) {
	h := newHarness(t)
	fails, panics, good := h.ring(), h.ring(), h.ring()
	var total atomic.Int64
	h.attach(fails, Handler{Ready: func(Event) error {
		if fails.take(1) > 0 {
			return errTest
		}
		return nil
	}})
	h.attach(panics, Handler{Ready: func(Event) error {
		if panics.take(1) > 0 {
			panic(errTest)
		}
		return nil
	}})
	h.attach(good, takeAll(good, &total))
	h.poll()
	for _, f := range []*fakeRing{fails, panics, good} {
		f.send(1)
	}
	h.poll()
	require.EqualValues(t, 1, total.Load())
	require.Equal(t, 1, h.Stats().Registered)
}

// I10: the doorbell is out of the epoll set before its owner may close it.
func TestInvariant10DeletedBeforeTheDoorbellIsClosed(t *testing.T) {
	h := newHarness(t)
	closed, ended := h.ring(), h.ring()
	reg := h.attach(closed, nothing(t))
	checked := false
	h.attach(ended, Handler{
		Ready: func(Event) error {
			require.True(t, watched(t, h.FD(), ended.bell))
			return errTest
		},
		Closed: func(error) {
			checked = true
			require.False(t, watched(t, h.FD(), ended.bell))
		},
	})
	h.poll()
	require.True(t, checked)
	require.True(t, watched(t, h.FD(), closed.bell))
	require.NoError(t, reg.Close())
	require.False(t, watched(t, h.FD(), closed.bell))
}

// watched says whether fd is in the set of epfd (proc_pid_fdinfo(5)).
func watched(t testing.TB, epfd, fd int) bool {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", epfd))
	noError(t, err)
	for line := range strings.Lines(string(info)) {
		var tfd int
		if _, err := fmt.Sscanf(line, "tfd: %d", &tfd); err == nil && tfd == fd {
			return true
		}
	}
	return false
}

// I11: an event that carries a retired token is dropped and counted, also when
// its slot has a new tenant.
func TestInvariant11StaleTokenIsDropped(t *testing.T) {
	h := newHarness(t)
	f := h.ring()
	peer, err := unix.FcntlInt(uintptr(f.bell), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	h.own(peer)
	old := h.attach(f, nothing(t))
	h.poll()

	// Closed too early, so the peer's copy keeps a ghost in the epoll set.
	h.disown(f.bell)
	require.NoError(t, unix.Close(f.bell))
	require.ErrorIs(t, old.Close(), unix.EBADF)

	g := h.ring()
	require.Equal(t, f.bell, g.bell, "the number is used again")
	turns := 0
	young := h.attach(g, Handler{Ready: func(Event) error {
		turns++
		return nil
	}})
	require.Equal(t, old.token.slot, young.token.slot)
	h.poll()
	require.Equal(t, 1, turns)

	before := h.Stats()
	for range 10 {
		ringBell(t, peer)
		h.poll()
	}
	require.Equal(t, 1, turns)
	require.EqualValues(t, 10, h.Stats().Spurious-before.Spurious)
	require.Equal(t, before.Edges, h.Stats().Edges)
}

// I12: a doorbell that would block each read and each write does not hold up
// the loop.
func TestInvariant12NeverBlocksOnASharedDescriptor(t *testing.T) {
	for name, fill := range map[string]uint64{"empty": 0, "full": 1<<64 - 2} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			f := h.ring()
			if fill > 0 {
				_, err := unix.Write(f.bell, nativeUint64(fill))
				require.NoError(t, err)
			}
			require.NoError(t, unix.SetNonblock(f.bell, false))
			f.count.Store(1)
			var total atomic.Int64
			reg := h.attach(f, takeAll(f, &total))
			h.poll()
			require.EqualValues(t, 1, total.Load())
			reg.Pause()
			require.NoError(t, reg.Resume())
			h.poll()
			require.NoError(t, reg.Close())
		})
	}
}

// I13: an error of the source ends its registration: told once, no further
// look, and the others go on.
func TestInvariant13PoisonEndsOneRing(t *testing.T) {
	for _, where := range []string{"pending", "arm"} {
		t.Run(where, func(t *testing.T) {
			h := newHarness(t)
			bad, good := h.ring(), h.ring()
			poisoned := false
			poison := func() error {
				if poisoned {
					return errTest
				}
				return nil
			}
			if where == "pending" {
				bad.pending = poison
			} else {
				bad.arm = poison
			}
			var ends []error
			h.attach(bad, Handler{
				Ready:  func(Event) error { return nil },
				Closed: func(err error) { ends = append(ends, err) },
			})
			var total atomic.Int64
			h.attach(good, takeAll(good, &total))
			h.poll()
			poisoned = true
			ringBell(t, bad.bell)
			h.poll()
			require.Equal(t, []error{errTest}, ends)
			looks := bad.looks.Load()
			for range 5 {
				ringBell(t, bad.bell)
				good.send(1)
				h.poll()
			}
			require.Equal(t, []error{errTest}, ends)
			require.Equal(t, looks, bad.looks.Load())
			require.EqualValues(t, 5, total.Load())
			require.EqualValues(t, 1, h.Stats().Ended)
		})
	}
}
