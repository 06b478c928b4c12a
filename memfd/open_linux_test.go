package memfd_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/memfd/proctest"
)

func TestOpen(t *testing.T) {
	mine := create(t, 5000)
	fd, err := unix.Dup(mine.FD()) // not closed on exec
	require.NoError(t, err)
	f := open(t, fd)
	require.Equal(t, fd, f.FD(), "taken, not duplicated")
	require.Equal(t, int64(5000), f.Size())
	require.Equal(t, mine.PageSize(), f.PageSize())
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	require.NoError(t, err)
	require.NotZero(t, flags&unix.FD_CLOEXEC)

	a, b := mapAll(t, mine), mapAll(t, f)
	a.Bytes()[4999] = 9
	require.Equal(t, byte(9), b.Bytes()[4999])
}

func TestOpenBadDescriptor(t *testing.T) {
	for _, fd := range []int{-1, 1 << 20} {
		_, err := memfd.Open(fd)
		require.ErrorIs(t, err, unix.EBADF)
		require.ErrorContains(t, err, strconv.Itoa(fd))
	}
}

func TestFault10ShrinkMissingIsAdded(t *testing.T) {
	f := open(t, rawMemfd(t, page, memfd.SealGrow))
	seals, err := f.Seals()
	require.NoError(t, err)
	require.True(t, seals.Has(memfd.SealShrink))
	mapAll(t, f).Bytes()[0] = 1
}

func TestFault11NoSealingAllowed(t *testing.T) {
	requireSame(t, func() {
		fd, err := unix.MemfdCreate("unsealable", unix.MFD_CLOEXEC)
		require.NoError(t, err)
		for _, fd := range []int{fd, rawMemfd(t, page, memfd.SealSeal)} {
			_, err = memfd.Open(fd)
			require.ErrorIs(t, err, memfd.ErrNotSealed)
			require.ErrorIs(t, err, unix.EPERM)
			require.ErrorContains(t, err, "which has SEAL")
			require.False(t, isOpen(fd), "refused and closed at once")
		}
	})
}

func TestFault12TmpfsNamedMemfd(t *testing.T) {
	t.Run("by path", func(t *testing.T) {
		path := filepath.Join("/dev/shm", fmt.Sprintf("memfd:fake%d", os.Getpid()))
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		require.NoError(t, err)
		require.NoError(t, unix.Unlink(path))
		_, err = memfd.Open(fd)
		require.ErrorIs(t, err, memfd.ErrNotMemfd)
		require.ErrorContains(t, err, path)
		awaitClosed(fd)
	})
	// In a mount of its own the link of the file looks like that of a memfd.
	t.Run("in a detached mount", func(t *testing.T) {
		dir, err := detachedMount("tmpfs", nil)
		if errors.Is(err, unix.EPERM) {
			t.Log("not tried: mounting is not permitted here")
			return
		}
		require.NoError(t, err)
		defer unix.Close(dir)
		fd, err := unix.Openat(dir, "memfd:fake", unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
		require.NoError(t, err)
		link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		require.NoError(t, err)
		require.Equal(t, "/memfd:fake", link)

		_, err = memfd.Open(fd)
		require.ErrorIs(t, err, memfd.ErrNotSealed)
		require.False(t, isOpen(fd))
	})
}

// detachedMount returns a mount that has no place in any tree of directories
// and goes away with its descriptor.
func detachedMount(kind string, options map[string]string) (fd int, err error) {
	config, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen %s: %w", kind, err)
	}
	defer unix.Close(config)
	for key, value := range options {
		if err := unix.FsconfigSetString(config, key, value); err != nil {
			return -1, fmt.Errorf("fsconfig %s=%s: %w", key, value, err)
		}
	}
	if err := unix.FsconfigCreate(config); err != nil {
		return -1, fmt.Errorf("fsconfig: create: %w", err)
	}
	fd, err = unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("fsmount: %w", err)
	}
	return fd, nil
}

func TestFault13NotMemory(t *testing.T) {
	for what, fd := range map[string]int{
		"disk file": openPath(t, filepath.Join(t.TempDir(), "file"), unix.O_RDWR|unix.O_CREAT),
		"directory": openPath(t, t.TempDir(), unix.O_RDONLY),
		"/dev/zero": openPath(t, "/dev/zero", unix.O_RDWR),
		"path only": openPath(t, "/dev/zero", unix.O_PATH),
		"pipe":      pipeEnd(t),
		"socket":    socket(t),
		"eventfd":   eventfd(t),
	} {
		_, err := memfd.Open(fd)
		require.ErrorIs(t, err, memfd.ErrNotMemfd, what)
		awaitClosed(fd)
	}
}

func openPath(t *testing.T, path string, flags int) int {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	require.NoError(t, err)
	return fd
}

func pipeEnd(t *testing.T) int {
	var p [2]int
	require.NoError(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
	require.NoError(t, unix.Close(p[0]))
	return p[1]
}

func socket(t *testing.T) int {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	require.NoError(t, err)
	defer l.Close()
	file, err := l.(*net.UnixListener).File()
	require.NoError(t, err)
	defer file.Close()
	return dup(t, int(file.Fd()))
}

func eventfd(t *testing.T) int {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	require.NoError(t, err)
	return fd
}

func TestFault15Empty(t *testing.T) {
	f := open(t, rawMemfd(t, 0, memfd.SealShrink))
	require.Zero(t, f.Size())
	requireSame(t, func() {
		_, err := f.Map(1)
		require.ErrorIs(t, err, memfd.ErrTooSmall)
		_, err = f.MapReadOnly(page)
		require.ErrorIs(t, err, memfd.ErrTooSmall)
	})
}

func TestFault16PageShortOrLong(t *testing.T) {
	short := open(t, rawMemfd(t, 1*page, 0))
	_, err := short.Map(2 * page)
	require.ErrorIs(t, err, memfd.ErrTooSmall)
	require.ErrorContains(t, err, `map 8192 bytes of "raw", which has 4096`)

	long := open(t, rawMemfd(t, 3*page, 0))
	m, err := long.Map(2 * page)
	require.NoError(t, err)
	defer m.Close()
	require.Len(t, m.Bytes(), 2*page)
	require.Equal(t, 2*page, cap(m.Bytes()))
}

// A board is where the two processes of the truncate race meet.
type board struct {
	turn atomic.Int64 // descriptor to truncate, in the process of the test
	at   atomic.Int64 // the last one that the other process is at, or past
}

func boardOf(m *memfd.Mapping) *board { return (*board)(unsafe.Pointer(&m.Bytes()[0])) }

// truncate shrinks and grows each descriptor on the board, until the seal
// stops it.
func truncate([]string) int {
	f, err := memfd.Open(3)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	m, err := f.Map(page)
	if err != nil {
		return fail(err)
	}
	defer m.Close() // keeps the memory, too
	b := boardOf(m)
	for last := int64(0); ; {
		turn := b.turn.Load()
		if turn == last {
			yield()
			continue
		}
		last = turn
		// The low half is the number of the descriptor.
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/fd/%d", os.Getppid(), int32(turn)), unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return fail(err)
		}
		b.at.Store(turn)
		for err == nil {
			if err = unix.Ftruncate(fd, 0); err == nil {
				err = unix.Ftruncate(fd, 2*page)
			}
			yield()
		}
		unix.Close(fd)
	}
}

// yield lets the other process run where both share a processor.
func yield() { _, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

func TestFault17TruncateRacesOpen(t *testing.T) {
	const tries = 10_000
	shared := create(t, page)
	m := mapAll(t, shared)
	b := boardOf(m)
	file := os.NewFile(uintptr(dup(t, shared.FD())), "board")
	defer file.Close()
	proctest.Start(t, "truncate", []*os.File{file})

	usable := 0
	for i := range int64(tries) {
		fd := rawMemfd(t, 2*page, 0)
		turn := (i+1)<<32 | int64(fd)
		b.turn.Store(turn)
		for b.at.Load() != turn {
			yield()
		}
		if touchAll(t, fd) {
			usable++
		}
	}
	t.Logf("%d of %d had a size that could be mapped", usable, tries)
}

// touchAll opens and maps fd and reports whether that went well. If the memory
// were not really there, it would end the test run with SIGBUS.
func touchAll(t *testing.T, fd int) bool {
	f, err := memfd.Open(fd)
	require.NoError(t, err)
	defer f.Close()
	m, err := f.Map(2 * page)
	if err != nil {
		require.ErrorIs(t, err, memfd.ErrTooSmall)
		return false
	}
	defer m.Close()
	m.Bytes()[0], m.Bytes()[2*page-1] = 1, 1
	return true
}

func reopenReadOnly(t *testing.T, f *memfd.File) int {
	t.Helper()
	return openPath(t, fmt.Sprintf("/proc/self/fd/%d", f.FD()), unix.O_RDONLY)
}

func TestFault18ReadOnlyDescriptor(t *testing.T) {
	f := open(t, reopenReadOnly(t, create(t, page)))
	requireSame(t, func() {
		_, err := f.Map(page)
		require.ErrorIs(t, err, unix.EACCES)
		require.ErrorContains(t, err, `"test"`)
		_, err = f.MapReadOnly(page)
		require.ErrorIs(t, err, memfd.ErrNotSealed, "it can be written elsewhere")
	})

	once, err := memfd.WriteOnce("once", page, func(b []byte) error { b[0] = 5; return nil })
	require.NoError(t, err)
	defer once.Close()
	m, err := open(t, reopenReadOnly(t, once)).MapReadOnly(page)
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, byte(5), m.Bytes()[0])
}

func TestFault18ReadOnlyDescriptorWithoutShrink(t *testing.T) {
	raw := rawMemfd(t, page, 0)
	defer unix.Close(raw)
	fd := openPath(t, fmt.Sprintf("/proc/self/fd/%d", raw), unix.O_RDONLY)
	_, err := memfd.Open(fd)
	require.ErrorIs(t, err, memfd.ErrNotSealed)
	require.ErrorIs(t, err, unix.EPERM)
	require.False(t, isOpen(fd))
}

func TestFault19SealedBeforeMap(t *testing.T) {
	for _, seal := range []memfd.Seals{memfd.SealWrite, memfd.SealFutureWrite} {
		f := open(t, rawMemfd(t, page, seal))
		requireSame(t, func() {
			_, err := f.Map(page)
			require.ErrorIs(t, err, unix.EPERM)
			require.ErrorContains(t, err, "sealed SHRINK|"+seal.String())
		})
		m, err := f.MapReadOnly(page)
		require.NoError(t, err, "reading stays possible after %v", seal)
		require.NoError(t, m.Close())
	}
}

// EXEC freezes the mode bits only, but for a file that can be executed it
// brings WRITE with it.
func TestFault19ExecSealed(t *testing.T) {
	executable := open(t, rawMemfd(t, page, memfd.SealExec))
	_, err := executable.Map(page)
	require.ErrorIs(t, err, unix.EPERM)
	require.ErrorContains(t, err, "EXEC")

	fd := rawMemfd(t, page, 0)
	require.NoError(t, unix.Fchmod(fd, 0o600))
	f := open(t, fd)
	require.NoError(t, f.AddSeals(memfd.SealExec))
	mapAll(t, f).Bytes()[0] = 1
}
