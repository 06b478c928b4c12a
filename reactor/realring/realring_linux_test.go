package realring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

const capacity = 100

// peer is another process at the far end of a ring.
type peer struct {
	*proctest.Process
	near sharedring.Handle
}

func start(t *testing.T, role string) *peer {
	near, err := sharedring.Create(capacity, 8)
	require.NoError(t, err)
	far, err := near.Dup()
	require.NoError(t, err)
	var files []*os.File
	for _, fd := range []int{far.Memory, far.EmptySignal, far.FullSignal} {
		f := os.NewFile(uintptr(fd), "ring")
		defer f.Close()
		files = append(files, f)
	}
	return &peer{proctest.Start(t, role, files, strconv.Itoa(capacity)), near}
}

// run runs a loop until the end of the test.
func run(t *testing.T, spin reactor.Option) *reactor.Loop {
	l, err := reactor.NewLoop(spin)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- l.Run(context.Background()) }()
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		require.ErrorIs(t, <-done, reactor.ErrClosed)
	})
	return l
}

func spins(t *testing.T, f func(t *testing.T, spin reactor.Option)) {
	t.Run("asleep", func(t *testing.T) { f(t, reactor.WithSpin(0)) })
	t.Run("hot", func(t *testing.T) { f(t, reactor.WithSpin(time.Hour)) })
}

// watch tells hangUp when the process has ended.
func (p *peer) watch(t *testing.T, l *reactor.Loop, hangUp func(error)) {
	fd, err := unix.PidfdOpen(p.Pid(), 0)
	require.NoError(t, err)
	_, err = l.Register(fd, reactor.Readable, reactor.Handler{
		Ready:  func(reactor.Event) error { return errGone },
		Closed: func(err error) { hangUp(err); _ = unix.Close(fd) },
	})
	require.NoError(t, err)
}

var errGone = errors.New("process ended")

// sink receives 0, 1, 2, ... and closes its ring when that ends.
type sink struct {
	rx   *sharedring.Receiver[uint64]
	reg  *reactor.Registration
	next atomic.Uint64
	ends chan error
}

func newSink(t *testing.T, l *reactor.Loop, h sharedring.Handle) *sink {
	rx, err := sharedring.OpenReceiver[uint64](h, sharedring.WithHold(1))
	require.NoError(t, err)
	s := &sink{rx: rx, ends: make(chan error, 10)}
	s.reg, err = l.Attach(rx, reactor.Handler{Ready: s.ready, Closed: func(err error) {
		s.ends <- errors.Join(err, rx.Close())
	}})
	require.NoError(t, err)
	return s
}

func (s *sink) ready(reactor.Event) error {
	var buf [32]uint64
	n, err := s.rx.Receive(buf[:])
	for _, v := range buf[:n] {
		if v != s.next.Load() {
			return fmt.Errorf("item %d came where %d was due", v, s.next.Load())
		}
		s.next.Add(1)
	}
	return err
}

func until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !happened(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("it does not happen: %s", what)
		}
	}
}

func line(t *testing.T, p *peer, want string) {
	got, err := p.Stdout.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, want+"\n", got)
}

func (p *peer) tell(t *testing.T) {
	_, err := p.Stdin.Write([]byte("\n"))
	require.NoError(t, err)
}

// rounds lets the loop go round.
func rounds(t *testing.T, l *reactor.Loop) {
	for range 3 {
		done := make(chan bool)
		require.NoError(t, l.Post(func() { close(done) }))
		<-done
	}
}

// Killed anywhere in a flood: what came is a prefix without gap or repetition, and
// the end is told once.
func TestFault43KilledSender(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		l := run(t, spin)
		p := start(t, "flood")
		s := newSink(t, l, p.near)
		p.watch(t, l, s.rx.HangUp)
		until(t, "items", func() bool { return s.next.Load() > 1000 })
		require.NoError(t, p.Kill())
		require.ErrorIs(t, <-s.ends, sharedring.ErrPeerGone)
		rounds(t, l)
		require.Empty(t, s.ends)
		require.Zero(t, l.Registered())
	})
}

// Killed after the shared write and before the doorbell: that item is received too.
func TestFault43KilledBeforeTheDoorbell(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		l := run(t, spin)
		p := start(t, "fall")
		s := newSink(t, l, p.near)
		p.watch(t, l, s.rx.HangUp)
		line(t, p, "up")
		until(t, "items", func() bool { return s.next.Load() == 100 })
		p.tell(t)
		require.ErrorIs(t, <-s.ends, sharedring.ErrPeerGone)
		require.EqualValues(t, 101, s.next.Load())
		_ = p.Wait() // says "killed"
	})
}

// Killed with the ring full: the sender's end is told and does not wait for ever.
func TestFault44KilledReceiver(t *testing.T) {
	spins(t, func(t *testing.T, spin reactor.Option) {
		l := run(t, spin)
		p := start(t, "receive")
		tx, err := sharedring.OpenSender[uint64](p.near)
		require.NoError(t, err)
		ends := make(chan error, 10)
		var sent atomic.Int64
		_, err = l.Attach(tx, reactor.Handler{
			Ready: func(reactor.Event) error {
				n, err := tx.Send(make([]uint64, 7))
				for n == 7 && err == nil {
					sent.Add(7)
					n, err = tx.Send(make([]uint64, 7))
				}
				sent.Add(int64(n))
				return err
			},
			Closed: func(err error) { ends <- errors.Join(err, tx.Close()) },
		})
		require.NoError(t, err)
		p.watch(t, l, tx.HangUp)
		line(t, p, "received")
		// A hot sender keeps one slot spare.
		until(t, "full", func() bool { return sent.Load() >= int64(tx.Len()-1) })
		require.NoError(t, p.Kill())
		require.ErrorIs(t, <-ends, sharedring.ErrPeerGone)
		rounds(t, l)
		require.Empty(t, ends)
		require.Zero(t, l.Registered())
	})
}

// Stopped between the shared write and the doorbell: the items come after a look by
// Resume, as a sweep has it, or when the process goes on.
func TestFault46StoppedBeforeTheDoorbell(t *testing.T) {
	for _, how := range []string{"sweep", "continue"} {
		t.Run(how, func(t *testing.T) {
			l := run(t, reactor.WithSpin(0))
			p := start(t, "stop")
			s := newSink(t, l, p.near)
			line(t, p, "up")
			until(t, "first item", func() bool { return s.next.Load() == 1 })
			rounds(t, l)
			p.tell(t)
			until(t, "stopped", func() bool { return stopped(t, p.Pid()) })
			rounds(t, l)
			require.EqualValues(t, 1, s.next.Load(), "nobody has rung")
			if how == "sweep" {
				require.NoError(t, s.reg.Resume())
			} else {
				require.NoError(t, p.Signal(unix.SIGCONT))
			}
			until(t, "all items", func() bool { return s.next.Load() == 10 })
			require.NoError(t, p.Kill())
			s.rx.HangUp(errGone)
			require.ErrorIs(t, <-s.ends, sharedring.ErrPeerGone)
		})
	}
}

// stopped says whether the process is (proc_pid_stat(5)).
func stopped(t *testing.T, pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "T")
}
