package sharedring

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
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
	if !d.enter() {
		return ErrClosed
	}
	var err error
	if d.trusted {
		err = writeDoorbell(d.fd)
	} else {
		err = signalDoorbell(d.fd)
	}
	return errors.Join(err, d.leave())
}

// enter counts a user in. It is false after close, and leaves the count alone then:
// it has to pass through doorbellClosed only once.
func (d *doorbell) enter() bool {
	for {
		n := d.users.Load()
		if n >= doorbellClosed {
			return false
		}
		if d.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
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
	link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return fmt.Errorf("doorbell %d: %w: %w", fd, ErrDoorbell, err)
	}
	if link != "anon_inode:[eventfd]" {
		return fmt.Errorf("doorbell %d is %s, not an eventfd: %w", fd, link, ErrDoorbell)
	}
	if err := secureDoorbell(fd); err != nil {
		return fmt.Errorf("doorbell %d: %w: %w", fd, ErrDoorbell, err)
	}
	return nil
}
