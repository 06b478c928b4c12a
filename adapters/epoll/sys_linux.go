package epoll

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/reactor"
)

// Event is what epoll_wait writes. On Linux it is unix.EpollEvent.
type Event = unix.EpollEvent

const (
	levelMask = unix.EPOLLIN
	// edgeMask gives one event for each write, so that nobody has to read a doorbell.
	edgeMask = unix.EPOLLIN | unix.EPOLLET
)

func epollAdd(epfd, fd int, mask uint32, d datum) error {
	ev := Event{Events: mask}
	d.put(&ev)
	err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &ev)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EEXIST):
		err = fmt.Errorf("%w: %w", reactor.ErrRegistered, err)
	case errors.Is(err, unix.EPERM):
		err = fmt.Errorf("%w: %w", reactor.ErrNotPollable, err)
	}
	return fmt.Errorf("epoll_ctl add descriptor %d: %w", fd, err)
}

func epollDelete(epfd, fd int) error {
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
		return fmt.Errorf("epoll_ctl delete descriptor %d: %w", fd, err)
	}
	return nil
}

func eventfdCreate() (int, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("eventfd: %w", err)
	}
	return fd, nil
}

// one is the number that an eventfd takes, 8 bytes in the machine's own order.
var one = binary.NativeEndian.AppendUint64(nil, 1)

// eventfdWrite adds 1 to the counter: an edge for those who wait on it.
func eventfdWrite(fd int) error {
	for {
		_, err := unix.Write(fd, one)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("write eventfd: %w", err)
		}
	}
}

func closeFD(fd int) error {
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close descriptor %d: %w", fd, err)
	}
	return nil
}
