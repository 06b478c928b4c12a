package sharedring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// eventfd makes a doorbell. It blocks by default, because a peer's blocking read
// must work (the Rust crate's does); see setNonblock.
func eventfd() (int, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("sharedring: eventfd: %w", err)
	}
	return fd, nil
}

func dupDescriptor(fd int) (int, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("sharedring: duplicate descriptor %d: %w", fd, err)
	}
	return dup, nil
}

// closeDescriptor does not retry: on Linux the descriptor is gone even after EINTR
// (close(2)).
func closeDescriptor(fd int) error {
	if err := unix.Close(fd); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("sharedring: close descriptor %d: %w", fd, err)
	}
	return nil
}

// setNonblock is for the doorbell that this side waits on, and for no other: the
// flag is shared with the peer, and would make its blocking reads fail.
func setNonblock(fd int) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("sharedring: set doorbell %d non-blocking: %w", fd, err)
	}
	return nil
}

// secureDoorbell closes fd on exec, and refuses one that was opened for its path
// only (O_PATH), which has the right name but cannot be rung.
func secureDoorbell(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return fmt.Errorf("fcntl(F_GETFL): %w", err)
	}
	if flags&unix.O_PATH != 0 {
		return errors.New("opened with O_PATH")
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return fmt.Errorf("fcntl(F_SETFD): %w", err)
	}
	return nil
}

var one = binary.NativeEndian.AppendUint64(nil, 1)

// writeDoorbell adds 1 to an eventfd. A full counter (EAGAIN) is a bell that rings.
func writeDoorbell(fd int) error {
	for {
		_, err := unix.Write(fd, one)
		switch {
		case err == nil || errors.Is(err, unix.EAGAIN):
			return nil
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("sharedring: write to doorbell %d: %w", fd, err)
		}
	}
}

// iocb is the kernel's struct iocb (linux/aio_abi.h). What is left out stays zero,
// in either byte order.
type iocb struct {
	_      [2]uint64 // data, key, rw_flags
	opcode uint16
	_      uint16 // reqprio
	fildes uint32
	_      [4]uint64 // buf, nbytes, offset, reserved
	flags  uint32
	resfd  uint32
}

const (
	iocbPread     = 0
	iocbFlagResfd = 1
	aioEvents     = 128
)

type ioEvent [4]uint64 // struct io_event: data, obj, res, res2

// aio is the process's one AIO context. It is made with the first ring of a peer
// that is not trusted, and kept.
var aio struct {
	mu      sync.Mutex
	context atomic.Uintptr // 0: not made yet
}

// openSignals makes sure that signalDoorbell will work. A failure is not remembered:
// the limit on AIO contexts is the machine's, and may be free again.
func openSignals() error {
	aio.mu.Lock()
	defer aio.mu.Unlock()
	if aio.context.Load() != 0 {
		return nil
	}
	var ctx uintptr
	_, _, errno := unix.Syscall(unix.SYS_IO_SETUP, aioEvents, uintptr(unsafe.Pointer(&ctx)), 0)
	if errno != 0 {
		return fmt.Errorf("sharedring: io_setup, for doorbells that a peer cannot block (fs.aio-max-nr may be used up; TrustPeer does without): %w", errno)
	}
	aio.context.Store(ctx)
	return nil
}

// signalDoorbell adds 1 to an eventfd as the completion of an empty AIO read. The
// kernel does that without looking at O_NONBLOCK and also when the counter is
// full, so a peer that shares the eventfd cannot block us (RWF_NOWAIT would say
// the same of a write, but eventfds refuse it). The read itself, 0 bytes of the
// eventfd, fails at once and takes nothing. It needs openSignals.
func signalDoorbell(fd int) error {
	ctx := aio.context.Load()
	cb := iocb{opcode: iocbPread, fildes: uint32(fd), flags: iocbFlagResfd, resfd: uint32(fd)}
	cbs := [1]*iocb{&cb}
	for range 8 { // each round but a failed one makes room for 128 completions
		_, _, errno := unix.RawSyscall(unix.SYS_IO_SUBMIT, ctx, 1, uintptr(unsafe.Pointer(&cbs)))
		switch errno {
		case 0:
			return nil
		case unix.EAGAIN:
			reapSignals(ctx)
		case unix.EINTR:
		default:
			return fmt.Errorf("sharedring: io_submit to doorbell %d: %w", fd, errno)
		}
	}
	return fmt.Errorf("sharedring: io_submit to doorbell %d: %w", fd, unix.EAGAIN)
}

// reapSignals takes the completions, of which nobody needs one, out of the full
// context.
func reapSignals(ctx uintptr) {
	var events [aioEvents]ioEvent
	unix.RawSyscall6(unix.SYS_IO_GETEVENTS, ctx, 0, aioEvents, uintptr(unsafe.Pointer(&events)), 0, 0)
}
