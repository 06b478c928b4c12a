package memfd

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
)

// maxClosers bounds the threads that hostile descriptors can hold in close(2).
const maxClosers = 16

// discarded are the descriptors that wait to be closed.
var discarded struct {
	mu      sync.Mutex
	fds     []int
	closers int // goroutines that close them now
}

// Discard closes descriptors that a peer sent and that are not known to be
// harmless. It returns at once. An eventfd and memory that knows seals are closed
// by then; anything else is closed in the background: close(2) hangs on a file of
// a FUSE server that does not answer, until that server's end of the FUSE device
// is closed, and on a socket for as long as its SO_LINGER says. (So does exec, if
// it is to close such a file.)
//
// At most 16 threads hang that way. What is discarded meanwhile stays open, so
// limit how many descriptors one peer may send. Where none is expected, call
// recvmsg without a control buffer: then the kernel drops them itself, without
// the flush that hangs here.
//
// It may be called from any goroutine. Nothing is reported, as nothing could
// be done about it.
func Discard(fds ...int) {
	fds = slices.Clone(fds)
	slices.Sort(fds)
	for _, fd := range slices.Compact(fds) { // a number given twice is closed once
		name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		switch {
		case errors.Is(err, os.ErrNotExist):
			// Not open. By the time of a later close it could be someone else's.
		case err == nil && closesAtOnce(fd, name):
			_ = closeFD(fd)
		default:
			discard(fd)
		}
	}
}

// closesAtOnce asks nothing that the file's owner could answer.
func closesAtOnce(fd int, name string) bool {
	_, err := getSeals(fd)
	return err == nil || name == "anon_inode:[eventfd]"
}

func discard(fd int) {
	d := &discarded
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fds = append(d.fds, fd)
	if d.closers < maxClosers {
		d.closers++
		go closeDiscarded()
	}
}

func closeDiscarded() {
	for {
		fd, ok := nextDiscarded()
		if !ok {
			return
		}
		_ = closeFD(fd)
	}
}

// nextDiscarded ends the closer that calls it when nothing is left.
func nextDiscarded() (fd int, ok bool) {
	d := &discarded
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.fds) == 0 {
		d.fds = nil // a burst does not keep its memory
		d.closers--
		return 0, false
	}
	fd = d.fds[0]
	d.fds = d.fds[1:]
	return fd, true
}
