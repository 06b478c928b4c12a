package epoll

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/reactor"
)

// each runs f with both ways to service rings.
func each(t *testing.T, f func(t *testing.T, p *program, way func(p *program, opts ...reactor.Option) rings)) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) { f(t, newProgram(t), way) })
	}
}

// watched returns the descriptors in an epoll set, as proc_pid_fdinfo(5) shows them.
func watched(t testing.TB, epfd int) (fds []int) {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", epfd))
	require.NoError(t, err)
	for line := range strings.Lines(string(info)) {
		var fd int
		if _, err := fmt.Sscanf(line, "tfd: %d", &fd); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

func TestCloseLeavesNothingInTheSet(t *testing.T) {
	each(t, func(t *testing.T, p *program, way func(p *program, opts ...reactor.Option) rings) {
		r := way(p)
		_, rx := newRing(t, 64)
		_, err := r.Attach(rx, nothing)
		require.NoError(t, err)
		p.step(r, 0)
		require.NotEmpty(t, watched(t, p.epfd))
		require.NoError(t, r.Close())
		require.NoError(t, r.Close())
		require.Empty(t, watched(t, p.epfd))
	})
}

// A program has its sockets' turn between any two rounds over rings that never run dry.
func TestSocketsBesideBusyRings(t *testing.T) {
	for _, spin := range []time.Duration{0, time.Hour} {
		each(t, func(t *testing.T, p *program, way func(p *program, opts ...reactor.Option) rings) {
			r := way(p, reactor.WithSpin(spin))
			defer func() { require.NoError(t, r.Close()) }()
			for range 3 {
				tx, rx := newRing(t, 64)
				item := make([]uint64, 1)
				_, err := tx.Send(item)
				require.NoError(t, err)
				_, err = r.Attach(rx, reactor.Handler{Ready: func(reactor.Event) error {
					_, err1 := rx.Receive(item)
					_, err2 := tx.Send(item)
					return errors.Join(err1, err2)
				}})
				require.NoError(t, err)
			}
			here, there := socketpair(t)
			echoed := 0
			p.handle(there, func() {
				b := make([]byte, 8)
				n, err := unix.Read(there, b)
				require.NoError(t, err)
				_, err = unix.Write(there, b[:n])
				require.NoError(t, err)
				echoed++
			})
			p.step(r, -1)
			for want := 1; want <= 20; want++ {
				_, err := unix.Write(here, []byte("ping"))
				require.NoError(t, err)
				p.step(r, -1)
				require.Equal(t, want, echoed)
			}
			require.NotZero(t, r.Stats().Services)
		})
	}
}

// socketpair returns two ends; p closes the second.
func socketpair(t testing.TB) (here, there int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Close(fds[0])) })
	return fds[0], fds[1]
}

// A ring, and then all, is closed by a handler of the program's, while the event of it is
// in the same batch.
func TestLateEvents(t *testing.T) {
	each(t, func(t *testing.T, p *program, way func(p *program, opts ...reactor.Option) rings) {
		r := way(p, reactor.WithSpin(0))
		tx, rx := newRing(t, 64)
		turns := 0
		reg, err := r.Attach(rx, reactor.Handler{Ready: func(reactor.Event) error {
			turns++
			return nil
		}})
		require.NoError(t, err)
		p.step(r, 0)
		require.Equal(t, 1, turns)

		batch := func() []Event {
			_, err := tx.Send([]uint64{1})
			require.NoError(t, err)
			require.NoError(t, tx.Signal())
			require.NoError(t, r.Post(func() {}))
			events := make([]Event, 4)
			n, err := unix.EpollWait(p.epfd, events, -1)
			require.NoError(t, err)
			return events[:n]
		}
		events := batch()
		require.NoError(t, reg.Close())
		for i := range events {
			require.True(t, r.Dispatch(&events[i]))
		}
		p.step(r, 0)
		require.Equal(t, 1, turns)

		events = batch()
		require.NoError(t, r.Close())
		for i := range events {
			require.True(t, r.Dispatch(&events[i]))
		}
		require.Equal(t, 1, turns)
	})
}

// A program that sleeps is woken by a doorbell, and by whoever posts or attaches.
func TestOthersWakeTheProgram(t *testing.T) {
	each(t, func(t *testing.T, p *program, way func(p *program, opts ...reactor.Option) rings) {
		r := way(p, reactor.WithSpin(0))
		p.run(r)
		for range 100 {
			done := make(chan bool)
			require.NoError(t, r.Post(func() { close(done) }))
			<-done
		}
		for range 100 {
			_, rx := newRing(t, 1)
			done := make(chan bool)
			_, err := r.Attach(rx, reactor.Handler{
				Ready:  func(reactor.Event) error { return errors.New("end") },
				Closed: func(error) { close(done) },
			})
			require.NoError(t, err)
			<-done
		}
	})
}
