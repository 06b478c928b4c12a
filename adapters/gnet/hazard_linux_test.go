package gnetring

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// errno is what injected faults fail with.
const errno = unix.ENOSPC

// TestFailedEpollAdd has the epoll of an event loop take in nothing more. gnet hides that.
func TestFailedEpollAdd(t *testing.T) { inject(t, "add") }

// TestFailedEpollAddOfLoop is the same, when it meets the bell of an event loop.
func TestFailedEpollAddOfLoop(t *testing.T) { inject(t, "bell") }

// TestFailedDuplicate has gnet fail before it comes to its epoll.
func TestFailedDuplicate(t *testing.T) { inject(t, "duplicate") }

// TestRouteFallsBack has eventfds that cannot be disguised.
func TestRouteFallsBack(t *testing.T) { inject(t, "disguise") }

func inject(t *testing.T, what string) {
	t.Helper()
	p := proctest.Start(t, "inject", nil, what)
	out, err := io.ReadAll(p.Stdout)
	require.NoError(t, err)
	require.NoError(t, p.Wait(), "%s", out)
}

// injectRole runs a test of its own, since faults stay.
func injectRole(args []string) int {
	r := &roleTest{}
	defer r.cleanUp()
	injected[args[0]](r)
	return 0
}

// roleTest is a testing.TB for a role.
type roleTest struct {
	testing.TB
	cleanups []func()
}

func (*roleTest) Helper()                  {}
func (*roleTest) Name() string             { return "role" }
func (*roleTest) Context() context.Context { return context.Background() }
func (r *roleTest) Cleanup(f func())       { r.cleanups = append(r.cleanups, f) }
func (*roleTest) Errorf(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
}
func (r *roleTest) FailNow() { os.Exit(1) }
func (r *roleTest) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	r.FailNow()
}
func (r *roleTest) Fatal(args ...any) { r.Fatalf("%v", args) }
func (r *roleTest) cleanUp() {
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
}

var injected = map[string]func(t *roleTest){
	"add": func(t *roleTest) {
		l := run(t, &hooks{}, nil).loop()
		faultEpoll(t, l.bell.conns[0].Fd())
		for _, r := range []routeOf{routes[0], routes[2]} {
			rx, _ := r.rings(t, 16)
			k := collect(rx)
			before := proctest.Take()
			reg, err := l.Attach(rx, k.handler(), WithRoute(r.Route))
			require.NoError(t, err)
			reg.Pause() // is told all the same
			require.ErrorIs(t, <-k.closed, ErrNotEnrolled)
			require.ErrorIs(t, reg.Resume(), reactor.ErrClosed)
			awaitFDs(before)
		}
		rx, tx := routes[1].rings(t, 16)
		k := collect(rx)
		_, err := l.Attach(rx, k.handler()) // needs nothing of gnet
		require.NoError(t, err)
		send(t, tx, 1)
		k.want(t, 1)
	},
	"bell": func(t *roleTest) {
		p := run(t, &hooks{}, nil)
		_, c := p.dial()
		faultEpoll(t, c.Fd())
		rx, _ := routes[1].rings(t, 16)
		k := collect(rx)
		before := proctest.Take()
		l, err := p.Loop(c.EventLoop())
		require.NoError(t, err)
		_, err = l.Attach(rx, k.handler())
		if err == nil { // else it was too late
			err = <-k.closed
		}
		require.ErrorIs(t, err, ErrNotEnrolled)
		<-l.done
		require.Nil(t, p.find(c.EventLoop()), "it is tried again")
		awaitFDs(before)
	},
	"duplicate": func(t *roleTest) {
		l := run(t, &hooks{}, nil).loop()
		rx, _ := routes[0].rings(t, 16)
		k := collect(rx)
		conn, err := disguise(rx.FD())
		require.NoError(t, err)
		// As l.Attach, but for the fault, which must not meet what comes before gnet.
		w := &watch{loop: l, ring: &Registration{loop: l, source: rx, handler: k.handler()}}
		require.NoError(t, proctest.InjectErrno(proctest.Fault{Syscall: unix.SYS_FCNTL, Errno: unix.EMFILE, Arg: 1, Mask: math.MaxUint32, Value: unix.F_DUPFD_CLOEXEC}))
		results, err := l.el.Enroll(t.Context(), conn)
		require.NoError(t, err)
		e := &enrolment{enrolled: w}
		e.settle((<-results).Err)
		require.ErrorIs(t, w.ring.failed(), ErrNotEnrolled)
		require.ErrorIs(t, w.ring.failed(), unix.EMFILE)
	},
	"disguise": func(t *roleTest) {
		l := run(t, &hooks{}, nil).loop()
		rx, tx := routes[0].rings(t, 16)
		k := collect(rx)
		before := proctest.Take()
		require.NoError(t, proctest.InjectErrno(proctest.Fault{Syscall: unix.SYS_DUP3, Errno: unix.EMFILE, Arg: -1}))
		_, err := l.Attach(rx, k.handler(), WithRoute(RouteEventfd))
		require.ErrorIs(t, err, unix.EMFILE, "nothing else will do")
		require.Equal(t, before.FDs, proctest.Take().FDs)
		reg, err := l.Attach(rx, k.handler(), TrustPeer())
		require.NoError(t, err)
		require.Equal(t, RouteRelay, reg.Route())
		send(t, tx, 1)
		k.want(t, 1)
	},
}

// faultEpoll has the epoll that has fd fail from now on, in all but its wait.
func faultEpoll(t testing.TB, fd int) {
	dir, err := os.ReadDir("/proc/self/fdinfo")
	require.NoError(t, err)
	for _, d := range dir {
		info, _ := os.ReadFile("/proc/self/fdinfo/" + d.Name())
		for line := range strings.Lines(string(info)) {
			var target int
			if _, err := fmt.Sscanf(line, "tfd: %d", &target); err != nil || target != fd {
				continue
			}
			var epoll uint64
			_, err := fmt.Sscan(d.Name(), &epoll)
			require.NoError(t, err)
			require.NoError(t, proctest.InjectErrno(proctest.Fault{Syscall: unix.SYS_EPOLL_CTL, Errno: errno, Arg: 0, Mask: math.MaxUint32, Value: epoll}))
			return
		}
	}
	t.Fatalf("no epoll has descriptor %d", fd)
}

// awaitFDs waits for as many descriptors as there were before.
func awaitFDs(before proctest.Census) {
	for proctest.Take().FDs > before.FDs {
		unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
	}
}

// A descriptor's number comes back while the old doorbell is still rung by its peer.
func TestDescriptorNumberIsUsedAgain(t *testing.T) {
	forRoutes(t, func(t *testing.T, r routeOf) {
		l := run(t, &hooks{}, nil).loop()
		var old []*sharedring.Sender[uint64]
		var again int
		last := -1
		for round := range uint64(100) {
			near, far, err := r.make(16, 8)
			require.NoError(t, err)
			rx, err := sharedring.OpenReceiver[uint64](near)
			require.NoError(t, err)
			tx, err := sharedring.OpenSender[uint64](far)
			require.NoError(t, err)
			old = append(old, tx)
			if rx.FD() == last {
				again++
			}
			last = rx.FD()
			k := collect(rx)
			reg, err := l.Attach(rx, k.handler(), WithRoute(r.Route))
			require.NoError(t, err)
			if round%3 != 0 { // else gnet opens it too late
				send(t, tx, round)
				k.want(t, round)
			}
			require.NoError(t, reg.Close())
			require.NoError(t, rx.Close())
			for _, tx := range old {
				require.NoError(t, tx.Signal())
			}
			require.Empty(t, k.got)
		}
		require.NotZero(t, again)
		for _, tx := range old {
			require.NoError(t, tx.Close())
		}
		require.Zero(t, l.Stats().Ended)
	})
}

// endless is a ring that never runs dry.
type endless struct{ quiet }

func (endless) Pending() (bool, error) { return true, nil }
func (endless) Arm() (bool, error)     { return true, nil }

// A spent budget is armed again, and gnet's sockets have their turn in between.
func TestBusyRingLeavesSocketsTheirTurn(t *testing.T) {
	for _, edgeTriggered := range []bool{false, true} {
		forRoutes(t, func(t *testing.T, r routeOf) {
			p := run(t, &hooks{traffic: echo}, nil, gnet.WithEdgeTriggeredIO(edgeTriggered))
			client, c := p.dial()
			l, err := p.Loop(c.EventLoop())
			require.NoError(t, err)
			rx, tx := r.rings(t, 16)
			var turns atomic.Int64
			_, err = l.Attach(endless{quiet(rx.FD())}, reactor.Handler{Ready: func(reactor.Event) error {
				turns.Add(1)
				return nil
			}}, WithRoute(r.Route))
			require.NoError(t, err)
			other, otherTx := r.rings(t, 16)
			k := collect(other)
			_, err = l.Attach(other, k.handler(), WithRoute(r.Route))
			require.NoError(t, err)
			answers := bufio.NewReader(client)
			for i := range uint64(20) {
				before := turns.Load()
				_, err := client.Write([]byte{byte(i)})
				require.NoError(t, err)
				b, err := answers.ReadByte()
				require.NoError(t, err)
				require.Equal(t, byte(i), b)
				send(t, otherTx, i)
				k.want(t, i)
				for turns.Load() == before { // with no edge of its own
					runtime.Gosched()
				}
			}
			require.NoError(t, tx.Signal())
		})
	}
}

// A peer that rings again in each turn does not keep gnet at its doorbell, which an
// edge-triggered gnet reads until nothing comes.
func TestQuickPeerLeavesSocketsTheirTurn(t *testing.T) {
	forRoutes(t, func(t *testing.T, r routeOf) {
		p := run(t, &hooks{traffic: echo}, []Option{WithReactor(reactor.WithSpin(0), reactor.WithNap(0))}, gnet.WithEdgeTriggeredIO(true))
		client, c := p.dial()
		l, err := p.Loop(c.EventLoop())
		require.NoError(t, err)
		rx, tx := r.rings(t, 16)
		quick := &quick{Receiver: rx}
		_, err = l.Attach(quick, reactor.Handler{Ready: func(reactor.Event) error {
			quick.turns.Add(1)
			return tx.Signal() // as a peer on another processor
		}}, WithRoute(r.Route))
		require.NoError(t, err)
		for range 5 {
			before := quick.turns.Load()
			_, err := client.Write([]byte("x"))
			require.NoError(t, err)
			_, err = client.Read(make([]byte, 1))
			require.NoError(t, err)
			require.Less(t, quick.turns.Load()-before, int64(100_000), "gnet would have made it a chunk of 131,072")
		}
	})
}

type quick struct {
	*sharedring.Receiver[uint64]
	turns atomic.Int64
}

func echo(c gnet.Conn) gnet.Action {
	b, err := c.Next(-1)
	if err == nil {
		_, err = c.Write(b)
	}
	if err != nil {
		return gnet.Close
	}
	return gnet.None
}

// What few edges told of is delivered, by turns that take one item each.
func TestBudgetIsArmedAgain(t *testing.T) {
	forRoutes(t, func(t *testing.T, r routeOf) {
		l := run(t, &hooks{}, []Option{WithReactor(reactor.WithSpin(0))}).loop()
		rx, tx := r.rings(t, 5000)
		got := make(chan uint64, 5000)
		reg, err := l.Attach(rx, reactor.Handler{Ready: func(reactor.Event) error {
			buf := make([]uint64, 1)
			n, err := rx.Receive(buf)
			if n > 0 {
				got <- buf[0]
			}
			return err
		}}, WithRoute(r.Route))
		require.NoError(t, err)
		items := make([]uint64, 5000)
		for i := range items {
			items[i] = uint64(i)
		}
		send(t, tx, items...)
		for _, want := range items {
			require.Equal(t, want, <-got)
		}
		require.Less(t, tx.Doorbells(), uint64(len(items)/10))
		require.NoError(t, reg.Close())
	})
}

// The kinds of event loop that gnet has.
func TestEngineOptions(t *testing.T) {
	for name, opts := range map[string][]gnet.Option{
		"plain":         nil,
		"edgeTriggered": {gnet.WithEdgeTriggeredIO(true)},
		"smallChunk":    {gnet.WithEdgeTriggeredIOChunk(8)},
		"multicore":     {gnet.WithMulticore(true), gnet.WithLoadBalancing(gnet.LeastConnections)},
		"lockOSThread":  {gnet.WithLockOSThread(true), gnet.WithNumEventLoop(2)},
		"reusePort":     {gnet.WithReusePort(true), gnet.WithNumEventLoop(2)},
		"reusePortEdge": {gnet.WithReusePort(true), gnet.WithNumEventLoop(2), gnet.WithEdgeTriggeredIO(true), gnet.WithLockOSThread(true)},
		"ticker":        {gnet.WithTicker(true)},
	} {
		t.Run(name, func(t *testing.T) {
			forRoutes(t, func(t *testing.T, r routeOf) { serves(t, r, opts) })
		})
	}
}

// serves has connections and their rings, with peers in other processes, on all event
// loops.
func serves(t *testing.T, r routeOf, opts []gnet.Option) {
	h := &hooks{traffic: echo, tick: func() (time.Duration, gnet.Action) { return time.Millisecond, gnet.None }}
	var p *program
	if strings.Contains(t.Name(), "reusePort") { // gnet ignores that for unix sockets
		p = runAt(t, "tcp", freePort(t), h, nil, opts...)
	} else {
		p = run(t, h, nil, opts...)
	}
	type served struct {
		client net.Conn
		k      *collector
		peer   *proctest.Process
	}
	var all []served
	loops := map[gnet.EventLoop]bool{}
	for range 4 {
		client, c := p.dial()
		loops[c.EventLoop()] = true
		near, far, err := r.make(16, 8)
		require.NoError(t, err)
		rx, err := sharedring.OpenReceiver[uint64](near)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, rx.Close()) })
		k := collect(rx)
		_, err = p.AttachConn(c, rx, k.handler(), WithRoute(r.Route))
		require.NoError(t, err)
		all = append(all, served{client, k, startPeer(t, far, "1", "2", "3")})
	}
	if strings.Contains(t.Name(), "multicore") {
		require.Greater(t, len(loops), 0)
	}
	for i, s := range all {
		s.k.want(t, 1, 2, 3)
		_, err := s.client.Write([]byte("x"))
		require.NoError(t, err)
		_, err = io.ReadFull(s.client, make([]byte, 1))
		require.NoError(t, err)
		require.NoError(t, s.peer.Stdin.Close())
		s.k.want(t, 99)
		require.NoError(t, s.peer.Wait())
		switch {
		case i == 0: // the engine's stop ends it
			if r.Route != RouteSocket {
				continue
			}
			require.Equal(t, io.EOF, <-s.k.closed)
		case r.Route == RouteSocket:
			require.Equal(t, io.EOF, <-s.k.closed)
			_, err = s.client.Read(make([]byte, 1))
			require.Error(t, err)
		default:
			require.NoError(t, s.client.Close())
			require.ErrorIs(t, <-s.k.closed, ErrConnClosed)
		}
	}
	p.shutDown()
	if r.Route != RouteSocket {
		err := <-all[0].k.closed
		require.True(t, errors.Is(err, reactor.ErrClosed) || errors.Is(err, ErrConnClosed), "%v", err)
	}
}

// freePort returns an address that nobody listens on, which SO_REUSEPORT needs to be
// named.
func freePort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
