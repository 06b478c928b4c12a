package sharedring

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/shmloop/shmloop/memfd"
)

// doorbell is a descriptor that one side rings and the other waits on. Closing it
// while another goroutine rings is safe: the last user closes the descriptor, so
// the 8 bytes never reach a file that got its number.
type doorbell struct {
	fd      int
	trusted bool
	users   atomic.Int64 // calls in progress, plus doorbellClosed
}

const doorbellClosed = 1 << 32

// ring tells the peer. It never blocks, whatever the peer did to the descriptor,
// unless the peer is trusted.
func (d *doorbell) ring() error {
	if d.users.Add(1) >= doorbellClosed {
		return errors.Join(ErrClosed, d.leave())
	}
	var err error
	if d.trusted {
		err = writeDoorbell(d.fd)
	} else {
		err = signalDoorbell(d.fd)
	}
	return errors.Join(err, d.leave())
}

func (d *doorbell) leave() error {
	if d.users.Add(-1) == doorbellClosed {
		return closeDescriptor(d.fd)
	}
	return nil
}

// close must be called once.
func (d *doorbell) close() error {
	d.users.Add(doorbellClosed + 1)
	return d.leave()
}

// checkDoorbell tells whether fd is an eventfd, by its name and not by trying it:
// a read or write of a foreign descriptor can block.
func checkDoorbell(fd int) error {
	link, err := descriptorName(fd)
	if err != nil {
		return fmt.Errorf("doorbell %d: %w: %w", fd, ErrDoorbell, err)
	}
	if link != "anon_inode:[eventfd]" {
		return fmt.Errorf("doorbell %d is %s, not an eventfd: %w", fd, link, ErrDoorbell)
	}
	return nil
}

func descriptorName(fd int) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// closeForeign closes descriptors that failed a check. What is a file is discarded
// in the background: closing it waits for its file system, which may be a hostile
// FUSE server.
func closeForeign(fds ...int) {
	slices.Sort(fds)
	for _, fd := range slices.Compact(fds) {
		name, err := descriptorName(fd)
		switch {
		case err != nil: // not open: nothing to close
		case strings.HasPrefix(name, "/"):
			memfd.Discard(fd)
		default:
			_ = closeDescriptor(fd)
		}
	}
}
