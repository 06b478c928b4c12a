//go:build !linux

package epoll

import (
	"errors"
	"fmt"
	"runtime"
)

// Event is what epoll_wait writes. On Linux it is unix.EpollEvent.
type Event struct {
	Events  uint32
	Fd, Pad int32
}

const levelMask, edgeMask = 0, 0

var errUnsupported = fmt.Errorf("%w on %s", errors.ErrUnsupported, runtime.GOOS)

func epollAdd(epfd, fd int, mask uint32, d datum) error { return errUnsupported }
func epollDelete(epfd, fd int) error                    { return errUnsupported }
func eventfdCreate() (int, error)                       { return -1, errUnsupported }
func eventfdWrite(fd int) error                         { return errUnsupported }
func closeFD(fd int) error                              { return errUnsupported }
