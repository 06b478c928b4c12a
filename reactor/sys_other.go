//go:build !linux

package reactor

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

type pollEvent struct{}

const doorbellMask, pausedMask = 0, 0

var errUnsupported = fmt.Errorf("%w on %s", errors.ErrUnsupported, runtime.GOOS)

func (i Interest) mask() uint32 { return 0 }

func epollCreate() (int, error)                                            { return -1, errUnsupported }
func epollAdd(epfd, fd int, mask uint32, k token) error                    { return errUnsupported }
func epollModify(epfd, fd int, mask uint32, k token) error                 { return errUnsupported }
func epollDelete(epfd, fd int) error                                       { return errUnsupported }
func epollWait(epfd int, events []pollEvent, d time.Duration) (int, error) { return 0, errUnsupported }
func received(e *pollEvent) (token, Event)                                 { return token{}, 0 }
func eventfdCreate() (int, error)                                          { return -1, errUnsupported }
func sleep(time.Duration)                                                  {}
func eventfdWrite(fd int) error                                            { return errUnsupported }
func closeFD(fd int) error                                                 { return errUnsupported }
func threadID() int                                                        { return 0 }
func timerCreate() (int, error)                                            { return -1, errUnsupported }
func timerSet(fd int, d time.Duration) error                               { return errUnsupported }
