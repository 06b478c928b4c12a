package epoll

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/reactor/conformance"
	"github.com/shmloop/shmloop/sharedring"
)

func TestMain(m *testing.M) {
	roles := conformance.Roles()
	roles["inject"] = injectRole
	proctest.Main(m, roles)
}

// program is a program with an epoll loop of its own, by hand.
type program struct {
	t        testing.TB
	epfd     int
	handlers map[int32]func() // of its own descriptors, for input; of the loop's goroutine
	waits    atomic.Int64
	events   []unix.EpollEvent
	stop     bool
	fds      []int
}

func newProgram(t testing.TB) *program {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	require.NoError(t, err)
	p := &program{t: t, epfd: epfd, handlers: map[int32]func(){}, events: make([]unix.EpollEvent, 16), fds: []int{epfd}}
	t.Cleanup(func() {
		for _, fd := range p.fds {
			require.NoError(t, unix.Close(fd))
		}
	})
	return p
}

// handle has f called while fd is readable, which p closes at the end.
func (p *program) handle(fd int, f func()) {
	p.fds = append(p.fds, fd)
	p.handlers[int32(fd)] = f
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	require.NoError(p.t, unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, &ev))
}

// rings is what both ways have in common.
type rings interface {
	conformance.Native
	Dispatch(ev *Event) (handled bool)
	Stats() reactor.Stats
}

// step is one time round the loop.
func (p *program) step(r rings, timeout int) {
	if d, ok := r.(*Direct); ok {
		timeout = d.Timeout(timeout)
	}
	n, err := unix.EpollWait(p.epfd, p.events, timeout)
	if err != nil && !errors.Is(err, unix.EINTR) {
		p.t.Errorf("epoll_wait: %v", err)
	}
	p.waits.Add(1)
	for i := range max(n, 0) {
		ev := &p.events[i]
		if r.Dispatch(ev) {
			continue
		}
		p.handlers[ev.Fd]()
	}
	if d, ok := r.(*Direct); ok {
		if err := d.Turn(); err != nil && !errors.Is(err, reactor.ErrClosed) {
			p.t.Errorf("turn: %v", err)
		}
	}
}

// run runs the loop on a goroutine until the end of the test.
func (p *program) run(r rings) {
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	require.NoError(p.t, err)
	p.handle(stop, func() { p.stop = true })
	done := make(chan bool)
	go func() {
		defer close(done)
		for !p.stop {
			p.step(r, -1)
		}
	}()
	p.t.Cleanup(func() {
		require.NoError(p.t, eventfdWrite(stop))
		<-done
		require.NoError(p.t, r.Close())
	})
}

// ways are the two ways to service rings in a program's loop.
var ways = map[string]func(p *program, opts ...reactor.Option) rings{
	"direct": func(p *program, opts ...reactor.Option) rings {
		d, err := NewDirect(p.epfd, opts...)
		require.NoError(p.t, err)
		return d
	},
	"nested": func(p *program, opts ...reactor.Option) rings {
		n, err := NewNested(p.epfd, opts...)
		require.NoError(p.t, err)
		return n
	},
}

// newRing makes a ring whose ends p closes after its loop.
func newRing(t testing.TB, capacity int) (*sharedring.Sender[uint64], *sharedring.Receiver[uint64]) {
	near, err := sharedring.Create(capacity, 8)
	require.NoError(t, err)
	far, err := near.Dup()
	require.NoError(t, err)
	rx, err := sharedring.OpenReceiver[uint64](near)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, rx.Close()) })
	tx, err := sharedring.OpenSender[uint64](far)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tx.Close()) })
	return tx, rx
}
