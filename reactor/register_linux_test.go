package reactor

import (
	"encoding/binary"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestRegisterRefuses(t *testing.T) {
	h := newHarness(t)
	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer file.Close()
	r, _ := h.pipe()
	h.register(r, Readable, nothing(t))
	f := h.ring()
	h.attach(f, nothing(t))

	for name, c := range map[string]struct {
		fd       int
		interest Interest
		handler  Handler
		want     error
	}{
		"twice":             {r, Readable, nothing(t), ErrRegistered},
		"a doorbell":        {f.bell, Writable, nothing(t), ErrRegistered},
		"regular file":      {int(file.Fd()), Readable, nothing(t), ErrNotPollable},
		"negative":          {-1, Readable, nothing(t), unix.EBADF},
		"not open":          {1 << 20, Readable, nothing(t), unix.EBADF},
		"the loop":          {h.FD(), Readable, nothing(t), unix.EINVAL},
		"no handler":        {r, Readable, Handler{}, ErrInvalid},
		"no interest":       {r, EdgeTriggered, nothing(t), ErrInvalid},
		"unknown interests": {r, 1 << 9, nothing(t), ErrInvalid},
	} {
		_, err := h.Register(c.fd, c.interest, c.handler)
		require.ErrorIs(t, err, c.want, name)
		require.ErrorContains(t, err, "reactor: register", name)
	}
	_, err = h.Attach(nil, nothing(t))
	require.ErrorIs(t, err, ErrInvalid)
	_, err = h.Attach(h.ring(), Handler{})
	require.ErrorIs(t, err, ErrInvalid)
	_, err = h.Attach(f, nothing(t))
	require.ErrorIs(t, err, ErrRegistered)
	_, err = h.Attach(&fakeRing{bell: int(file.Fd())}, nothing(t))
	require.ErrorIs(t, err, ErrNotPollable)
	require.Equal(t, 2, h.Stats().Registered)
}

// Level-triggered: once per round, for as long as there is something.
func TestRegisterLevelTriggered(t *testing.T) {
	h := newHarness(t)
	r, w := h.pipe()
	turns, drain := 0, false
	h.register(r, Readable, Handler{Ready: func(ev Event) error {
		require.Equal(t, eventReadable, ev)
		turns++
		if drain {
			readFull(t, r)
		}
		return nil
	}})
	h.poll()
	require.Zero(t, turns)
	ringBell(t, w)
	for i := range 5 {
		n, err := h.Poll(0)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, i+1, turns)
	}
	drain = true
	h.poll()
	require.Equal(t, 6, turns)
	require.False(t, h.readable())
}

func TestRegisterEdgeTriggered(t *testing.T) {
	h := newHarness(t)
	r, w := h.pipe()
	ringBell(t, w)
	turns := 0
	reg := h.register(r, Readable|EdgeTriggered, Handler{Ready: func(Event) error {
		turns++
		return nil
	}})
	h.poll()
	require.Equal(t, 1, turns, "what was there before")
	h.poll()
	require.Equal(t, 1, turns)
	ringBell(t, w)
	h.poll()
	require.Equal(t, 2, turns)
	require.NoError(t, reg.Resume())
	h.poll()
	require.Equal(t, 3, turns, "Resume looks again")
	readFull(t, r)
	require.NoError(t, reg.Resume())
	h.poll()
	require.Equal(t, 3, turns, "and finds nothing")
}

func TestRegisterHangUpAndError(t *testing.T) {
	h := newHarness(t)
	r, w := h.pipe()
	var seen Event
	ready := func(ev Event) error { seen = ev; return errTest }
	h.register(r, Readable, Handler{Ready: ready})
	h.disown(w)
	require.NoError(t, unix.Close(w))
	h.poll()
	require.True(t, seen.HangUp())
	require.False(t, seen.Error())

	r, w = h.pipe()
	h.register(w, Writable, Handler{Ready: ready})
	h.disown(r)
	require.NoError(t, unix.Close(r))
	h.poll()
	require.True(t, seen.Error())
	require.True(t, seen.Writable())
}

// A pause keeps a level-triggered descriptor from spinning the loop, a hang-up
// included, and Resume tells what holds then.
func TestRegisterPause(t *testing.T) {
	for _, interest := range []Interest{Readable, Readable | EdgeTriggered} {
		for _, when := range []string{"idle", "queued", "in the turn"} {
			h := newHarness(t)
			a, b := h.socketpair()
			turns := 0
			var reg *Registration
			reg = h.register(a, interest, Handler{Ready: func(ev Event) error {
				turns++
				if turns == 1 && when == "in the turn" {
					reg.Pause()
					return nil
				}
				readFull(t, a)
				return nil
			}})
			switch when {
			case "idle":
				reg.Pause()
				ringBell(t, b)
			case "queued":
				require.NoError(t, h.Post(reg.Pause)) // the event is of the same wait
				ringBell(t, b)
				h.poll()
			case "in the turn":
				ringBell(t, b)
				h.poll()
			}
			ringBell(t, b)
			before := turns
			h.poll()
			require.False(t, h.readable())
			require.Equal(t, before, turns)

			require.NoError(t, reg.Resume())
			h.poll()
			require.Equal(t, before+1, turns)

			// Over by the time of Resume: nothing is told.
			reg.Pause()
			ringBell(t, b)
			h.poll()
			readFull(t, a)
			require.NoError(t, reg.Resume())
			h.poll()
			require.Equal(t, before+1, turns)

			reg.Pause()
			h.disown(b)
			require.NoError(t, unix.Close(b))
			h.poll()
			require.False(t, h.readable(), "a hang-up in a pause does not spin")
			require.NoError(t, reg.Resume())
			_, err := h.Poll(0)
			require.NoError(t, err)
			require.Equal(t, before+2, turns)
			require.NoError(t, reg.Close())
		}
	}
}

// What was seen in a pause and is over does not come up later.
func TestRegisterPauseForgetsWhatIsOver(t *testing.T) {
	h := newHarness(t)
	a, b := h.socketpair()
	var seen []Event
	reg := h.register(a, Readable|Writable|EdgeTriggered, Handler{Ready: func(ev Event) error {
		seen = append(seen, ev)
		return nil
	}})
	h.poll()
	require.NoError(t, h.Post(reg.Pause)) // in the wait that sees the edge
	ringBell(t, b)
	h.poll()
	readFull(t, a)
	require.NoError(t, reg.Resume())
	h.poll()
	require.Equal(t, []Event{eventWritable, eventWritable}, seen)
}

func TestRegisterTimerfd(t *testing.T) {
	h := newHarness(t)
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	require.NoError(t, err)
	h.own(fd)
	var expirations uint64
	h.register(fd, Readable, Handler{Ready: func(Event) error {
		expirations += binary.NativeEndian.Uint64(readFull(t, fd))
		return nil
	}})
	spec := unix.ItimerSpec{Value: unix.Timespec{Nsec: 1000}}
	require.NoError(t, unix.TimerfdSettime(fd, 0, &spec, nil))
	for expirations == 0 {
		_, err := h.Poll(-1)
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, expirations)
}

func TestRegisterPidfd(t *testing.T) {
	h := newHarness(t)
	h.run()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	require.NoError(t, err)
	h.own(fd)
	gone := make(chan error, 1)
	h.register(fd, Readable, Handler{
		Ready:  func(Event) error { return errTest },
		Closed: func(err error) { gone <- err },
	})
	h.do(func() {})
	require.Empty(t, gone)
	require.NoError(t, in.Close())
	require.Equal(t, errTest, <-gone)
	require.NoError(t, cmd.Wait())
}

// A ring that never runs dry, one that spins on a full pipe, and sockets: each
// gets its turns.
func TestSocketsBesideRings(t *testing.T) {
	h := newHarness(t)
	endless := h.ring()
	endless.count.Store(1)
	turns := 0
	h.attach(endless, Handler{Ready: func(Event) error { turns++; return nil }})
	busy := h.ring()
	var total atomic.Int64
	h.attach(busy, takeAll(busy, &total))
	r, w := h.pipe()
	ringBell(t, w)
	h.register(r, Readable, Handler{Ready: func(Event) error { return nil }})
	a, b := h.socketpair()
	h.register(a, Readable, Handler{Ready: func(Event) error { // echo
		_, err := unix.Write(a, readFull(t, a))
		return err
	}})
	answers := 0
	h.register(b, Readable, Handler{Ready: func(Event) error {
		readFull(t, b)
		answers++
		busy.send(1)
		ringBell(t, b)
		return nil
	}})
	ringBell(t, b)
	for answers < 100 {
		_, err := h.Poll(0)
		require.NoError(t, err)
	}
	h.poll()
	require.GreaterOrEqual(t, total.Load(), int64(100))
	require.GreaterOrEqual(t, turns, 200)
	require.Less(t, turns, 1000, "one turn each a round")
}
