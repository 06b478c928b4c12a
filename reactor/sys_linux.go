package reactor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pollEvent is one event as epoll_wait writes it.
type pollEvent = unix.EpollEvent

func epollCreate() (int, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("epoll_create1: %w", err)
	}
	return fd, nil
}

// doorbellMask is what a ring's doorbell is waited on with.
const doorbellMask = unix.EPOLLIN | unix.EPOLLET

// pausedMask reports nothing but one edge of an error or a hang-up, which epoll
// does not let one switch off.
const pausedMask = unix.EPOLLET

func (i Interest) mask() uint32 {
	var mask uint32
	if i&Readable != 0 {
		mask |= unix.EPOLLIN
	}
	if i&Writable != 0 {
		mask |= unix.EPOLLOUT
	}
	if i&EdgeTriggered != 0 {
		mask |= unix.EPOLLET
	}
	return mask
}

func epollAdd(epfd, fd int, mask uint32, k token) error {
	return epollCtl("add", unix.EPOLL_CTL_ADD, epfd, fd, mask, k)
}

func epollModify(epfd, fd int, mask uint32, k token) error {
	return epollCtl("modify", unix.EPOLL_CTL_MOD, epfd, fd, mask, k)
}

func epollDelete(epfd, fd int) error {
	return epollCtl("delete", unix.EPOLL_CTL_DEL, epfd, fd, 0, token{})
}

func epollCtl(what string, op, epfd, fd int, mask uint32, k token) error {
	event := unix.EpollEvent{Events: mask, Fd: int32(k.slot), Pad: int32(k.generation)}
	err := unix.EpollCtl(epfd, op, fd, &event)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EEXIST):
		err = fmt.Errorf("%w: %w", ErrRegistered, err)
	case errors.Is(err, unix.EPERM):
		err = fmt.Errorf("%w: %w", ErrNotPollable, err)
	}
	return fmt.Errorf("epoll_ctl %s descriptor %d: %w", what, fd, err)
}

// epollWait waits for events: for ever if timeout is negative, not at all if it
// is 0, else at least that long, in whole milliseconds.
func epollWait(epfd int, events []pollEvent, timeout time.Duration) (int, error) {
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	for {
		n, err := unix.EpollWait(epfd, events, milliseconds(timeout))
		switch {
		case err == nil:
			return n, nil
		case !errors.Is(err, unix.EINTR):
			return 0, fmt.Errorf("epoll_wait: %w", err)
		case timeout == 0:
			return 0, nil // asked only to look
		case timeout > 0:
			timeout = max(0, time.Until(deadline))
		}
	}
}

// sleep sleeps for about d, less if a signal comes. It keeps the goroutine's processor,
// which the runtime would else take away and give back at ten times the cost of
// the sleep; so d has to be short.
func sleep(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// milliseconds rounds up, so that a short wait does not become a busy one.
func milliseconds(d time.Duration) int {
	if d < 0 {
		return -1
	}
	ms := d / time.Millisecond
	if d%time.Millisecond != 0 {
		ms++
	}
	return int(min(ms, math.MaxInt32))
}

// received takes apart an event that epoll_wait wrote.
func received(e *pollEvent) (token, Event) {
	var ev Event
	if e.Events&unix.EPOLLIN != 0 {
		ev |= eventReadable
	}
	if e.Events&unix.EPOLLOUT != 0 {
		ev |= eventWritable
	}
	if e.Events&unix.EPOLLHUP != 0 {
		ev |= eventHangUp
	}
	if e.Events&unix.EPOLLERR != 0 {
		ev |= eventError
	}
	return token{slot: uint32(e.Fd), generation: uint32(e.Pad)}, ev
}

func eventfdCreate() (int, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("eventfd: %w", err)
	}
	return fd, nil
}

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

// one is the number that an eventfd takes, 8 bytes in the machine's own order.
var one = binary.NativeEndian.AppendUint64(nil, 1)

func closeFD(fd int) error {
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close descriptor %d: %w", fd, err)
	}
	return nil
}

func threadID() int { return unix.Gettid() }

func timerCreate() (int, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("timerfd_create: %w", err)
	}
	return fd, nil
}

// timerSet has fd fire once, d from now. d must be positive: 0 would turn it off.
func timerSet(fd int, d time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if err := unix.TimerfdSettime(fd, 0, &spec, nil); err != nil {
		return fmt.Errorf("timerfd_settime: %w", err)
	}
	return nil
}
