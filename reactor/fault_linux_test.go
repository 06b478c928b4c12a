package reactor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
)

// A ring is closed while its peer keeps ringing, and the descriptor's number is
// used again at once.
func TestFault36ClosedWhilePeerRings(t *testing.T) {
	h := newHarness(t)
	h.run()
	stop, gone := make(chan bool), make(chan bool)
	f := h.ring()
	peer, err := unix.FcntlInt(uintptr(f.bell), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	h.own(peer)
	go func() {
		defer close(gone)
		for {
			select {
			case <-stop:
				return
			default:
				ringBell(t, peer)
			}
		}
	}()
	turns := make(chan bool, 1)
	ready := func(Event) error {
		select {
		case turns <- true:
		default:
		}
		return nil
	}
	for range 200 {
		reg := h.attach(f, Handler{Ready: ready})
		<-turns
		<-turns // by an edge of the peer
		require.NoError(t, reg.Close())

		quiet := h.ring()
		first := make(chan bool, 2)
		young := h.attach(quiet, Handler{Ready: func(Event) error {
			first <- true
			return nil
		}})
		require.Equal(t, reg.token.slot, young.token.slot)
		<-first
		h.do(func() {})
		require.Empty(t, first, "an event of the old ring came to the new one")
		require.NoError(t, young.Close())
		for len(turns) > 0 {
			<-turns
		}
	}
	close(stop)
	<-gone
}

// The peer is another process, and its copy of the doorbell outlives ours: no
// ghost of the registration stays in the epoll set.
func TestFault36NoGhostOfAClosedDoorbell(t *testing.T) {
	h := newHarness(t)
	f := h.ring()
	copied, err := unix.FcntlInt(uintptr(f.bell), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	file := os.NewFile(uintptr(copied), "doorbell")
	defer file.Close()
	edges := 0
	reg := h.attach(f, Handler{Ready: func(Event) error { edges++; return nil }})
	h.poll()
	proctest.Start(t, "ring", []*os.File{file})
	for edges < 100 {
		_, err := h.Poll(-1)
		require.NoError(t, err)
	}
	require.NoError(t, reg.Close())
	h.disown(f.bell)
	require.NoError(t, unix.Close(f.bell))

	young := h.ring()
	require.Equal(t, f.bell, young.bell, "the number is used again")
	turns := 0
	h.attach(young, Handler{Ready: func(Event) error { turns++; return nil }})
	h.poll()
	before := h.Stats()
	for range 100 {
		readFull(t, copied)
		for !readable(t, copied) { // until the peer rings again
			runtime.Gosched()
		}
	}
	require.False(t, h.readable())
	h.poll()
	require.Equal(t, 1, turns)
	require.Equal(t, before.Edges, h.Stats().Edges)
	require.Zero(t, h.Stats().Spurious)
}

// ringRole rings descriptor 3 until it is killed.
func ringRole([]string) int {
	for {
		if _, err := unix.Write(3, one); err != nil {
			fmt.Fprintln(os.Stderr, "ring:", err)
			return 1
		}
	}
}

// Written before the registration, drained by a third party: nothing but the
// look after EPOLL_CTL_ADD can find it.
func TestFault47DataBeforeAttach(t *testing.T) {
	h := newHarness(t)
	h.run()
	f := h.ring()
	f.send(3)
	readFull(t, f.bell)
	got := make(chan int64, 1)
	h.attach(f, Handler{Ready: func(Event) error {
		got <- f.take(100)
		return nil
	}})
	require.EqualValues(t, 3, <-got)
}

// One item a turn: all come, and another ring gets its turns between.
func TestFault49TakesOneOfMany(t *testing.T) {
	h := newHarness(t)
	greedy, other := h.ring(), h.ring()
	var order strings.Builder
	take := func(f *fakeRing, name string) Handler {
		return Handler{Ready: func(Event) error {
			if f.take(1) > 0 {
				order.WriteString(name)
			}
			return nil
		}}
	}
	h.attach(greedy, take(greedy, "g"))
	h.attach(other, take(other, "o"))
	greedy.send(50)
	other.send(5)
	h.poll()
	require.Equal(t, strings.Repeat("go", 5)+strings.Repeat("g", 45), order.String())
}

// Paused, filled, resumed: it goes on by itself. The doorbell rings only when
// the ring was empty, so no edge comes after the pause.
func TestFault52PauseFillResume(t *testing.T) {
	for _, when := range []string{"idle", "queued", "in the turn"} {
		t.Run(when, func(t *testing.T) {
			h := newHarness(t)
			f := h.ring()
			var total, turns int64
			var reg *Registration
			reg = h.attach(f, Handler{Ready: func(Event) error {
				turns++
				total += f.take(10)
				if when == "in the turn" && total == 1 {
					reg.Pause()
				}
				return nil
			}})
			h.poll()
			switch when {
			case "idle":
				f.send(1)
				h.poll()
				reg.Pause()
			case "queued":
				f.send(1)
				require.NoError(t, reg.Resume())
				reg.Pause()
			case "in the turn":
				f.send(1)
				h.poll()
			}
			f.send(1)
			f.send(30)
			before := turns
			h.poll()
			require.Equal(t, before, turns, "no turn in a pause")
			require.False(t, h.readable())
			require.NoError(t, reg.Resume())
			require.True(t, h.readable())
			h.poll()
			require.EqualValues(t, 32, total)
		})
	}
}

// A ring that is paused with items left is armed all the same: what its end
// holds back is the peer's room.
func TestPauseArmsTheRing(t *testing.T) {
	h := newHarness(t)
	f := h.ring()
	arms := 0
	f.arm = func() error { arms++; return nil }
	var reg *Registration
	reg = h.attach(f, Handler{Ready: func(Event) error {
		reg.Pause()
		return nil
	}})
	f.send(2)
	h.poll()
	require.Equal(t, 1, arms)
}

// Each case runs in a process of its own: a seccomp filter is for ever.
func TestFault54Errno(t *testing.T) {
	for name := range injections {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, proctest.Start(t, "inject", nil, name).Wait())
		})
	}
}

func injectRole(args []string) int {
	wakeCost() // measured once, with descriptors and a goroutine of its own
	before := proctest.Take()
	if err := injections[args[0]](); err != nil {
		fmt.Fprintln(os.Stderr, args[0], err)
		return 1
	}
	if after := proctest.Take(); after.FDs != before.FDs || after.Goroutines > before.Goroutines {
		fmt.Fprintf(os.Stderr, "%s leaked: %+v before, %+v after\n", args[0], before, after)
		return 1
	}
	return 0
}

var injections = map[string]func() error{
	"epoll_create1": func() error {
		return newLoopFails(proctest.Fault{Syscall: unix.SYS_EPOLL_CREATE1, Errno: unix.EMFILE, Arg: -1})
	},
	"eventfd2": func() error {
		return newLoopFails(proctest.Fault{Syscall: unix.SYS_EVENTFD2, Errno: unix.ENFILE, Arg: -1})
	},
	"epoll_ctl in NewLoop": func() error {
		return newLoopFails(proctest.Fault{Syscall: unix.SYS_EPOLL_CTL, Errno: unix.ENOMEM, Arg: -1})
	},
	"epoll_ctl add":    addFails,
	"epoll_ctl modify": modifyFails,
	"epoll_ctl delete": deleteFails,
	"write to eventfd": wakeFails,
	"epoll_wait EINTR": waitInterrupted,
	"epoll_wait":       waitFails,
}

func newLoopFails(f proctest.Fault) error {
	if err := proctest.InjectErrno(f); err != nil {
		return err
	}
	_, err := NewLoop()
	return want(err, f.Errno)
}

func want(err error, errno syscall.Errno) error {
	if !errors.Is(err, errno) {
		return fmt.Errorf("got %v, want %v", err, errno)
	}
	return nil
}

func ctlFails(op uint64, errno syscall.Errno) error {
	return proctest.InjectErrno(proctest.Fault{Syscall: unix.SYS_EPOLL_CTL, Errno: errno, Arg: 1, Mask: 0xffff, Value: op})
}

// withPipe gives f a loop and the two ends of a pipe.
func withPipe(f func(l *Loop, r, w int) error) (err error) {
	l, err := NewLoop()
	if err != nil {
		return err
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return err
	}
	err = f(l, p[0], p[1])
	return errors.Join(err, l.Close(), unix.Close(p[0]), unix.Close(p[1]))
}

type bareSource int

func (s bareSource) FD() int                { return int(s) }
func (s bareSource) Pending() (bool, error) { return false, nil }
func (s bareSource) Arm() (bool, error)     { return false, nil }

var idleHandler = Handler{Ready: func(Event) error { return nil }}

func addFails() error {
	return withPipe(func(l *Loop, r, w int) error {
		if err := ctlFails(unix.EPOLL_CTL_ADD, unix.ENOSPC); err != nil {
			return err
		}
		_, attach := l.Attach(bareSource(r), idleHandler)
		_, register := l.Register(r, Readable, idleHandler)
		if n := l.Stats().Registered; n != 0 {
			return fmt.Errorf("%d registrations", n)
		}
		return errors.Join(want(attach, unix.ENOSPC), want(register, unix.ENOSPC))
	})
}

func modifyFails() error {
	return withPipe(func(l *Loop, r, w int) error {
		reg, err := l.Register(r, Readable, idleHandler)
		if err != nil {
			return err
		}
		if err := ctlFails(unix.EPOLL_CTL_MOD, unix.ENOMEM); err != nil {
			return err
		}
		reg.Pause()
		return errors.Join(want(reg.Resume(), unix.ENOMEM), reg.Close())
	})
}

func deleteFails() error {
	return withPipe(func(l *Loop, r, w int) error {
		reg, err := l.Register(r, Readable, idleHandler)
		if err != nil {
			return err
		}
		if err := ctlFails(unix.EPOLL_CTL_DEL, unix.ENOMEM); err != nil {
			return err
		}
		if n := l.Stats().Registered; n != 1 {
			return fmt.Errorf("%d registrations", n)
		}
		err = want(reg.Close(), unix.ENOMEM)
		if n := l.Stats().Registered; n != 0 {
			return fmt.Errorf("%d registrations after Close", n)
		}
		return errors.Join(err, reg.Close())
	})
}

func wakeFails() error {
	return withPipe(func(l *Loop, r, w int) error {
		err := proctest.InjectErrno(proctest.Fault{
			Syscall: unix.SYS_WRITE, Errno: unix.EIO, Arg: 0, Mask: 0xffffffff, Value: uint64(l.wakefd)})
		if err != nil {
			return err
		}
		ran := false
		post := l.Post(func() { ran = true })
		_, attach := l.Attach(bareSource(r), idleHandler)
		if n := l.Stats().Registered; n != 0 {
			return fmt.Errorf("%d registrations", n)
		}
		if n, err := l.Poll(0); n != 0 || err != nil || ran {
			return fmt.Errorf("poll: %d callbacks, %v; post ran: %v", n, err, ran)
		}
		return errors.Join(want(post, unix.EIO), want(attach, unix.EIO))
	})
}

// waitsFail is about the waits of l alone: the Go runtime waits in the same way,
// for another number of events, and would not survive.
func waitsFail(l *Loop, errno syscall.Errno) error {
	return proctest.InjectErrno(proctest.Fault{
		Syscall: unix.SYS_EPOLL_PWAIT, Errno: errno, Arg: 2, Mask: 1<<64 - 1, Value: uint64(len(l.events))})
}

// waitInterrupted has each wait interrupted, for ever. A loop that begins its
// wait anew each time would hang.
func waitInterrupted() error {
	return withPipe(func(l *Loop, r, w int) error {
		if err := waitsFail(l, unix.EINTR); err != nil {
			return err
		}
		for _, timeout := range []time.Duration{0, time.Microsecond, 5 * time.Millisecond} {
			if n, err := l.Poll(timeout); n != 0 || err != nil {
				return fmt.Errorf("poll for %v: %d callbacks, %w", timeout, n, err)
			}
		}
		return nil
	})
}

func waitFails() error {
	return withPipe(func(l *Loop, r, w int) error {
		if err := waitsFail(l, unix.ENOMEM); err != nil {
			return err
		}
		_, poll := l.Poll(-1)
		return errors.Join(want(poll, unix.ENOMEM), want(l.Run(context.Background()), unix.ENOMEM))
	})
}

// Signals arrive at the thread that waits.
func TestFault54SignalsInTheWait(t *testing.T) {
	h := newHarness(t)
	threads, done := make(chan int, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		threads <- unix.Gettid()
		done <- h.Run(ctx)
	}()
	tid := <-threads
	for range 20 {
		waitAsleep(t, tid)
		require.NoError(t, unix.Tgkill(unix.Getpid(), tid, unix.SIGURG)) // the runtime ignores it
	}
	h.do(func() {})
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

// waitAsleep waits until the thread sleeps in the kernel (proc_pid_stat(5)).
func waitAsleep(t testing.TB, tid int) {
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", tid))
		require.NoError(t, err)
		_, after, _ := strings.Cut(string(stat), ") ")
		if strings.HasPrefix(after, "S") {
			return
		}
		runtime.Gosched()
	}
}
