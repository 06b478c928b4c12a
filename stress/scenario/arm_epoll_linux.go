package scenario

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/adapters/epoll"
)

// serveByDirect is a program's own epoll loop, with the doorbells in its epoll set.
func serveByDirect(rings []ring, take func(int, []record)) (*service, error) {
	l, err := newOwnLoop()
	if err != nil {
		return nil, err
	}
	direct, err := epoll.NewDirect(l.epfd)
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	failed := make(chan error, 1)
	if err := attachAll(direct, rings, turn, take, failed); err != nil {
		return nil, errors.Join(err, direct.Close(), l.close())
	}
	return l.serve(failed, direct.Dispatch, direct.Timeout, direct.Turn, direct.Post, direct.Close), nil
}

// serveByNested is the same loop with a reactor.Loop behind one of its descriptors.
func serveByNested(rings []ring, take func(int, []record)) (*service, error) {
	l, err := newOwnLoop()
	if err != nil {
		return nil, err
	}
	nested, err := epoll.NewNested(l.epfd)
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	failed := make(chan error, 1)
	if err := attachAll(nested, rings, turn, take, failed); err != nil {
		return nil, errors.Join(err, nested.Close(), l.close())
	}
	asIs := func(host int) int { return host }
	return l.serve(failed, nested.Dispatch, asIs, func() error { return nil }, nested.Post, nested.Close), nil
}

// ownLoop is the loop of a program that has nothing else to wait for.
type ownLoop struct {
	epfd  int
	waits atomic.Uint64
	over  bool // of the loop's goroutine
}

func newOwnLoop() (*ownLoop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &ownLoop{epfd: epfd}, err
}

func (l *ownLoop) close() error { return unix.Close(l.epfd) }

// serve runs the loop on a goroutine of its own until the service is stopped.
func (l *ownLoop) serve(failed chan error, dispatch func(*epoll.Event) bool, timeout func(int) int, turn func() error, post func(func()) error, end func() error) *service {
	ended := make(chan error, 1)
	go func() {
		err := l.run(dispatch, timeout, turn)
		report(failed, err)
		ended <- err
	}()
	return &service{failed: failed, waits: l.waits.Load, stop: func() error {
		if err := post(func() { l.over = true }); err != nil {
			return err
		}
		return errors.Join(<-ended, end(), l.close())
	}}
}

func (l *ownLoop) run(dispatch func(*epoll.Event) bool, timeout func(int) int, turn func() error) error {
	events := make([]epoll.Event, 256)
	for !l.over {
		l.waits.Add(1)
		n, err := unix.EpollWait(l.epfd, events, timeout(-1))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for i := range max(n, 0) {
			dispatch(&events[i])
		}
		if err := turn(); err != nil {
			return err
		}
	}
	return nil
}
