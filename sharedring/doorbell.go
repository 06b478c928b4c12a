package sharedring

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
)

// doorbell is a descriptor that one side rings and the other waits on. Closing it
// while another goroutine rings is safe: the last user closes the descriptor, so
// the 8 bytes never reach a file that got its number.
type doorbell struct {
	fd    int
	kind  doorbellKind
	users atomic.Int64 // calls in progress, plus doorbellClosed
}

// doorbellKind says how a doorbell is rung.
type doorbellKind uint8

const (
	guardedEventfd doorbellKind = iota // in a way that a peer cannot block
	trustedEventfd                     // with a plain write
	socketDoorbell                     // a unix stream socket; see socket.go
)

const doorbellClosed = 1 << 32

// ring tells the peer. It never blocks, whatever the peer did to the descriptor,
// unless the peer is trusted.
func (d *doorbell) ring() error {
	if !d.enter() {
		return ErrClosed
	}
	var err error
	switch d.kind {
	case guardedEventfd:
		err = signalDoorbell(d.fd)
	case trustedEventfd:
		err = writeDoorbell(d.fd)
	case socketDoorbell:
		err = sendBell(d.fd)
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
	if d.users.Add(-1) != doorbellClosed {
		return nil
	}
	if d.kind == socketDoorbell {
		return closeSocket(d.fd)
	}
	return closeDescriptor(d.fd)
}

// close must be called once.
func (d *doorbell) close() error {
	d.users.Add(doorbellClosed + 1)
	return d.leave()
}

// checkDoorbell tells whether fd is an eventfd or a socket that can be a doorbell,
// by its name and what the kernel says of it, and not by trying it: a read or write
// of a foreign descriptor can block.
func checkDoorbell(fd int) (socket bool, err error) {
	link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return false, fmt.Errorf("doorbell %d: %w: %w", fd, ErrDoorbell, err)
	}
	socket = strings.HasPrefix(link, "socket:[")
	if !socket && link != "anon_inode:[eventfd]" {
		return false, fmt.Errorf("doorbell %d is %s, neither an eventfd nor a socket: %w", fd, link, ErrDoorbell)
	}
	err = secureDoorbell(fd)
	if err == nil && socket {
		err = secureSocket(fd)
	}
	if err != nil {
		return false, fmt.Errorf("doorbell %d: %w: %w", fd, ErrDoorbell, err)
	}
	return socket, nil
}
