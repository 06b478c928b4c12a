package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/adapters/epoll"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

// server is an epoll loop and what it looks after. All but handout belongs to the loop's
// goroutine, with no lock.
type server struct {
	path     string // of the listener
	epfd     int
	listener int                  // of sockets
	handlers map[int32]func()     // by descriptor: what to do when it is readable
	sockets  map[*socket]struct{} // the open ones
	rings    *epoll.Direct        // of the clients with rings
	handout  *handoff.Listener    // of rings
	buf      []byte               // of whoever has his turn
	bySocket int
	byRing   int
}

// newServer listens at path for sockets, and beside it for clients that want rings.
func newServer(path string) (s *server, err error) {
	s = &server{
		path: path, epfd: -1, listener: -1, handlers: map[int32]func(){}, sockets: map[*socket]struct{}{},
		buf: make([]byte, ringBytes),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return s, fmt.Errorf("epoll_create1: %w", err)
	}
	if s.rings, err = epoll.NewDirect(s.epfd); err != nil {
		return s, err
	}
	if s.listener, err = listen(path); err != nil {
		return s, err
	}
	if err = s.watch(s.listener, s.accept); err != nil {
		return s, err
	}
	s.handout, err = handoff.Listen(ringPath(path), handoff.Config{})
	return s, err
}

// serve is the loop. It ends with ctx.
func (s *server) serve(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var handing sync.WaitGroup
	handing.Go(func() { s.handOut(ctx) })
	done := false
	context.AfterFunc(ctx, func() { _ = s.rings.Post(func() { done = true }) })
	err := s.loop(&done)
	stop()
	handing.Wait()
	return errors.Join(err, s.close())
}

func (s *server) loop(done *bool) error {
	events := make([]unix.EpollEvent, 64)
	for !*done {
		n, err := unix.EpollWait(s.epfd, events, s.rings.Timeout(-1))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for i := range max(n, 0) {
			if s.rings.Dispatch(&events[i]) {
				continue
			}
			if handle := s.handlers[events[i].Fd]; handle != nil { // else closed a moment ago
				handle()
			}
		}
		if err := s.rings.Turn(); err != nil {
			return err
		}
	}
	return nil
}

// watch has handle called while fd is readable.
func (s *server) watch(fd int, handle func()) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(s.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	s.handlers[int32(fd)] = handle
	return nil
}

func (s *server) unwatch(fd int) {
	_ = unix.EpollCtl(s.epfd, unix.EPOLL_CTL_DEL, fd, nil)
	delete(s.handlers, int32(fd))
}

// close closes what newServer and the loop opened.
func (s *server) close() (err error) {
	if s.handout != nil {
		err = s.handout.Close()
	}
	if s.rings != nil {
		err = errors.Join(err, s.rings.Close()) // and with it all clients with rings
	}
	for c := range s.sockets {
		c.close()
	}
	if s.listener >= 0 {
		err = errors.Join(err, unix.Close(s.listener), os.Remove(s.path))
	}
	if s.epfd >= 0 {
		err = errors.Join(err, unix.Close(s.epfd))
	}
	return err
}

// report says on standard error why a client was dropped.
func report(kind string, err error) { fmt.Fprintf(os.Stderr, "epoll: %s: %v\n", kind, err) }

// errSlow drops a client that asks and does not read the answers.
var errSlow = errors.New("the client does not read its answers")
