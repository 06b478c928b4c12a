package reactor

import (
	"slices"
	"sync"
	"time"
)

const (
	fallbackWakeCost = 10 * time.Microsecond
	maxSpin          = 50 * time.Microsecond
	wakeRounds       = 32
)

// wakeCost returns what it takes to wake a loop that sleeps in epoll_wait, from the
// write to its eventfd to its next instruction. It is half a round trip between two
// loops, measured once in a process.
var wakeCost = sync.OnceValue(func() time.Duration {
	cost, err := measureWake()
	if err != nil || cost <= 0 {
		return fallbackWakeCost
	}
	return cost
})

// measureWake bounces an edge between this goroutine and another.
func measureWake() (time.Duration, error) {
	here, err := newBell()
	if err != nil {
		return 0, err
	}
	defer here.close()
	there, err := newBell()
	if err != nil {
		return 0, err
	}
	defer there.close()
	echo := make(chan struct{})
	go func() {
		defer close(echo)
		for range wakeRounds {
			if there.wait() != nil || here.ring() != nil {
				return
			}
		}
	}()
	times := make([]time.Duration, wakeRounds)
	for i := range times {
		start := time.Now()
		if err := there.ring(); err != nil {
			return 0, err
		}
		if err := here.wait(); err != nil {
			return 0, err
		}
		times[i] = time.Since(start) / 2
	}
	<-echo
	slices.Sort(times)
	return times[len(times)/2], nil
}

// bell is an eventfd with an epoll that waits on it, as a loop does.
type bell struct{ epfd, fd int }

func newBell() (b bell, err error) {
	if b.epfd, err = epollCreate(); err != nil {
		return b, err
	}
	if b.fd, err = eventfdCreate(); err != nil {
		_ = closeFD(b.epfd)
		return b, err
	}
	if err = epollAdd(b.epfd, b.fd, doorbellMask, wakeToken); err != nil {
		b.close()
	}
	return b, err
}

func (b bell) ring() error { return eventfdWrite(b.fd) }

// wait gives up after a second: then the echo is gone.
func (b bell) wait() error {
	_, err := epollWait(b.epfd, make([]pollEvent, 1), time.Second)
	return err
}

func (b bell) close() {
	_ = closeFD(b.fd)
	_ = closeFD(b.epfd)
}
