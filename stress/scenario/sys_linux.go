package scenario

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawRead and rawWrite are read(2) and write(2) without Go's scheduler, which would
// give the processor away and take it back around each call. They are for a thread
// of its own (see ownThread).
func rawRead(fd int, p []byte) (int, error) { return rawCall(unix.SYS_READ, fd, p) }

func rawWrite(fd int, p []byte) (int, error) { return rawCall(unix.SYS_WRITE, fd, p) }

func rawCall(trap uintptr, fd int, p []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// newEdge returns an epoll that reports edges of a doorbell.
func newEdge(doorbell int) (int, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("scenario: epoll_create1: %w", err)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, doorbell, &event); err != nil {
		return -1, errors.Join(fmt.Errorf("scenario: epoll_ctl(EPOLL_CTL_ADD, %d): %w", doorbell, err), unix.Close(epfd))
	}
	return epfd, nil
}

// awaitEdge blocks its thread until an edge, like rawRead.
func awaitEdge(epfd int) error {
	var event unix.EpollEvent
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(&event)), 1, ^uintptr(0), 0, 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return fmt.Errorf("scenario: epoll_pwait: %w", errno)
		}
	}
}

// socketPair returns two connected unix sockets. They block, or the first does not.
func socketPair(nonblock bool) (near, far int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("scenario: socketpair: %w", err)
	}
	if err := unix.SetNonblock(fds[0], nonblock); err != nil {
		return -1, -1, errors.Join(fmt.Errorf("scenario: set socket %d non-blocking: %w", fds[0], err), closeFD(fds[0]), closeFD(fds[1]))
	}
	return fds[0], fds[1], nil
}

// growSendBuffer lets a socket hold size bytes, or what net.core.wmem_max allows
// (socket(7)).
func growSendBuffer(fd, size int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, size); err != nil {
		return fmt.Errorf("scenario: setsockopt(%d, SO_SNDBUF, %d): %w", fd, size, err)
	}
	return nil
}

// newPipe returns a pipe that holds size bytes.
func newPipe(size int) (r, w int, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, fmt.Errorf("scenario: pipe2: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, size); err != nil {
		return -1, -1, errors.Join(fmt.Errorf("scenario: fcntl(F_SETPIPE_SZ, %d): %w", size, err), closeFD(fds[0]), closeFD(fds[1]))
	}
	return fds[0], fds[1], nil
}

// blockingDup returns a blocking duplicate of a file's descriptor, and closes f.
func blockingDup(f *os.File) (int, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("scenario: fcntl(F_DUPFD_CLOEXEC): %w", err)
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return -1, errors.Join(fmt.Errorf("scenario: set descriptor %d blocking: %w", fd, err), closeFD(fd))
	}
	return fd, nil
}

func closeFD(fd int) error {
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("scenario: close %d: %w", fd, err)
	}
	return nil
}

// allowedCPUs returns the CPUs that this thread may run on.
func allowedCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("scenario: sched_getaffinity: %w", err)
	}
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// pin keeps this thread on one CPU.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("scenario: sched_setaffinity to CPU %d: %w", cpu, err)
	}
	return nil
}
