package memfd_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/memfd/proctest"
)

// An injection is a system call that fails, and what has to become of it. It
// runs in a process of its own, since a filter cannot be taken away again.
type injection struct {
	fault proctest.Fault
	// do runs before the fault with inject, which it calls when it is ready.
	do func(inject func() error) error
	// The error of do wraps these and contains that; nil = no error.
	is   []error
	says string
}

func always(call uintptr, errno syscall.Errno) proctest.Fault {
	return proctest.Fault{Syscall: call, Errno: errno, Arg: -1}
}

// equal is a fault in calls whose argument arg has this value.
func equal(call uintptr, errno syscall.Errno, arg int, value uint64) proctest.Fault {
	return proctest.Fault{Syscall: call, Errno: errno, Arg: arg, Mask: 1<<32 - 1, Value: value}
}

// The runtime's own mmap calls are private and anonymous, without NORESERVE.
const zeroPages = unix.MAP_FIXED | unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_NORESERVE

var injections = map[string]injection{
	"53 kernel before 6.3": {
		fault: proctest.Fault{Syscall: unix.SYS_MEMFD_CREATE, Errno: unix.EINVAL, Arg: 1, Mask: unix.MFD_NOEXEC_SEAL, Value: unix.MFD_NOEXEC_SEAL},
		do:    createWithoutExecSeal,
	},
	"53 noexec 2": {
		fault: proctest.Fault{Syscall: unix.SYS_MEMFD_CREATE, Errno: unix.EACCES, Arg: 1, Mask: unix.MFD_NOEXEC_SEAL, Value: 0},
		do:    createOne,
	},
	"54 memfd_create EMFILE": {
		fault: always(unix.SYS_MEMFD_CREATE, unix.EMFILE), do: createOne,
		is: []error{unix.EMFILE}, says: `memfd: memfd_create "test": `,
	},
	"54 memfd_create ENFILE": {
		fault: always(unix.SYS_MEMFD_CREATE, unix.ENFILE), do: writeOne,
		is: []error{unix.ENFILE}, says: `memfd: memfd_create "test": `,
	},
	"54 memfd_create EINVAL": {
		fault: always(unix.SYS_MEMFD_CREATE, unix.EINVAL), do: createOne,
		is: []error{unix.EINVAL}, says: `memfd: memfd_create "test": `,
	},
	"54 ftruncate ENOSPC": {
		fault: always(unix.SYS_FTRUNCATE, unix.ENOSPC), do: createOne,
		is: []error{unix.ENOSPC}, says: `memfd: ftruncate "test" to 4096 bytes: `,
	},
	"54 add seals, create": {
		fault: equal(unix.SYS_FCNTL, unix.EPERM, 1, unix.F_ADD_SEALS), do: createOne,
		is: []error{unix.EPERM, memfd.ErrNotSealed}, says: `memfd: fcntl(F_ADD_SEALS, SEAL|SHRINK|GROW) on "test"`,
	},
	"54 add seals, write once": {
		fault: equal(unix.SYS_FCNTL, unix.EPERM, 1, unix.F_ADD_SEALS), do: writeOne,
		is: []error{unix.EPERM, memfd.ErrNotSealed}, says: `memfd: fcntl(F_ADD_SEALS, SEAL|SHRINK|GROW|WRITE) on "test"`,
	},
	"54 get seals, create": {
		fault: equal(unix.SYS_FCNTL, unix.EIO, 1, unix.F_GET_SEALS), do: createOne,
		is: []error{unix.EIO}, says: `memfd: fcntl(F_GET_SEALS) on "test": `,
	},
	"54 get flags": {
		fault: equal(unix.SYS_FCNTL, unix.EBADF, 1, unix.F_GETFL), do: openForeign,
		is: []error{unix.EBADF}, says: "memfd: fcntl(F_GETFL) on descriptor ",
	},
	"54 get seals, open": {
		fault: equal(unix.SYS_FCNTL, unix.EINVAL, 1, unix.F_GET_SEALS), do: openOne,
		is: []error{unix.EINVAL, memfd.ErrNotMemfd}, says: "memfd: fcntl(F_GET_SEALS) on descriptor ",
	},
	"54 set flags": {
		fault: equal(unix.SYS_FCNTL, unix.EIO, 1, unix.F_SETFD), do: openOne,
		is: []error{unix.EIO}, says: `memfd: fcntl(F_SETFD) on "test": `,
	},
	"54 fstat": {
		fault: always(unix.SYS_FSTAT, unix.ENOMEM), do: openOne,
		is: []error{unix.ENOMEM}, says: `memfd: size of "test": fstat: `,
	},
	"54 fstatfs": {
		fault: always(unix.SYS_FSTATFS, unix.ENOMEM), do: openOne,
		is: []error{unix.ENOMEM}, says: `memfd: size of "test": fstatfs: `,
	},
	"54 mmap, map": {
		fault: equal(unix.SYS_MMAP, unix.ENOMEM, 3, unix.MAP_SHARED), do: mapOne,
		is: []error{unix.ENOMEM}, says: `memfd: mmap 4096 bytes of "test" read-write: `,
	},
	"54 mmap, write once": {
		fault: equal(unix.SYS_MMAP, unix.EAGAIN, 3, unix.MAP_SHARED), do: writeOne,
		is: []error{unix.EAGAIN}, says: `memfd: mmap 4096 bytes of "test" read-write: `,
	},
	"54 mmap, read": {
		fault: equal(unix.SYS_MMAP, unix.ENOMEM, 3, unix.MAP_PRIVATE), do: readOne,
		is: []error{unix.ENOMEM}, says: `memfd: mmap 4096 bytes of "test" read-only: `,
	},
	"54 mmap, close": {
		fault: equal(unix.SYS_MMAP, unix.ENOMEM, 3, zeroPages), do: closeOne,
		is: []error{unix.ENOMEM}, says: `memfd: mmap zeroes over 4096 bytes of "test": `,
	},
	"54 mmap, close after fill": {
		fault: equal(unix.SYS_MMAP, unix.ENOMEM, 3, zeroPages), do: writeOne,
		is: []error{unix.ENOMEM}, says: `memfd: mmap zeroes over 4096 bytes of "test": `,
	},
	"54 mlock": {
		fault: always(unix.SYS_MLOCK, unix.ENOMEM), do: lockOne,
		is: []error{unix.ENOMEM}, says: "RLIMIT_MEMLOCK",
	},
	"54 populate": {
		fault: equal(unix.SYS_MADVISE, unix.ENOMEM, 2, unix.MADV_POPULATE_WRITE), do: prefaultOne,
		is: []error{unix.ENOMEM}, says: `memfd: prefault 4096 bytes of "test": `,
	},
	"populate, kernel before 5.14": {
		fault: equal(unix.SYS_MADVISE, unix.EINVAL, 2, unix.MADV_POPULATE_WRITE), do: prefaultOne,
	},
	"populate, kernel before 5.14, read-only": {
		fault: equal(unix.SYS_MADVISE, unix.EINVAL, 2, unix.MADV_POPULATE_READ), do: prefaultReadOnly,
	},
}

func TestFault53OldKernelOrNoExec(t *testing.T) { runInjections(t, "53 ") }

func TestFault54ErrnoInjected(t *testing.T) { runInjections(t, "54 ") }

func TestPrefaultOldKernel(t *testing.T) { runInjections(t, "populate, ") }

func runInjections(t *testing.T, prefix string) {
	for name := range injections {
		if strings.HasPrefix(name, prefix) {
			t.Run(name, func(t *testing.T) {
				require.NoError(t, proctest.Start(t, "inject", nil, name).Wait())
			})
		}
	}
}

func injected(args []string) int {
	i := injections[args[0]]
	before := proctest.Take()
	err := i.do(func() error { return proctest.InjectErrno(i.fault) })
	if err := i.check(err); err != nil {
		return fail(err)
	}
	// What was refused is closed in the background; the test that runs this
	// role waits for its end, so it may be waited for.
	for proctest.Take().FDs != before.FDs || proctest.Take().Mappings != before.Mappings {
		runtime.GC()
	}
	return 0
}

func (i injection) check(err error) error {
	if len(i.is) == 0 && err != nil {
		return fmt.Errorf("it failed: %w", err)
	}
	for _, want := range i.is {
		if !errors.Is(err, want) {
			return fmt.Errorf("error is %v, want %v", err, want)
		}
	}
	if len(i.is) > 0 && !strings.Contains(err.Error(), i.says) {
		return fmt.Errorf("error is %v, want it to contain %q", err, i.says)
	}
	return nil
}

func createOne(inject func() error) error {
	if err := inject(); err != nil {
		return err
	}
	f, err := memfd.Create("test", page)
	if err != nil {
		return err
	}
	return f.Close()
}

func createWithoutExecSeal(inject func() error) error {
	if err := inject(); err != nil {
		return err
	}
	f, err := memfd.Create("test", page)
	if err != nil {
		return err
	}
	defer f.Close()
	seals, err := f.Seals()
	if err == nil && seals != memfd.SealShrink|memfd.SealGrow|memfd.SealSeal {
		err = fmt.Errorf("seals are %v", seals)
	}
	return err
}

func writeOne(inject func() error) error {
	if err := inject(); err != nil {
		return err
	}
	f, err := memfd.WriteOnce("test", page, func(b []byte) error { b[0] = 1; return nil })
	if err != nil {
		return err
	}
	return f.Close()
}

func openOne(inject func() error) error {
	f, err := memfd.Create("test", page)
	if err != nil {
		return err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(uintptr(f.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := inject(); err != nil {
		return err
	}
	f, err = memfd.Open(fd)
	if err != nil {
		return err
	}
	return f.Close()
}

// openForeign opens a number that is not open, so that nothing has to be
// closed.
func openForeign(inject func() error) error {
	if err := inject(); err != nil {
		return err
	}
	_, err := memfd.Open(1 << 20)
	return err
}

// withFile runs do with a new file after the fault is there.
func withFile(inject func() error, do func(f *memfd.File) error) error {
	f, err := memfd.WriteOnce("test", page, func([]byte) error { return nil })
	if err != nil {
		return err
	}
	defer f.Close()
	if err := inject(); err != nil {
		return err
	}
	return do(f)
}

func readOne(inject func() error) error {
	return withFile(inject, func(f *memfd.File) error {
		_, err := f.MapReadOnly(page)
		return err
	})
}

func prefaultReadOnly(inject func() error) error {
	return withFile(inject, func(f *memfd.File) error {
		m, err := f.MapReadOnly(page)
		if err != nil {
			return err
		}
		defer m.Close()
		return m.Prefault()
	})
}

func mapOne(inject func() error) error {
	f, err := memfd.Create("test", page)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := inject(); err != nil {
		return err
	}
	_, err = f.Map(page)
	return err
}

// withMapping runs do with a new mapping after the fault is there.
func withMapping(inject func() error, do func(m *memfd.Mapping) error) error {
	f, err := memfd.Create("test", page)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := f.Map(page)
	if err != nil {
		return err
	}
	defer m.Close()
	m.Bytes()[0] = 7
	if err := inject(); err != nil {
		return err
	}
	if err := do(m); err != nil {
		return err
	}
	if b := m.Bytes()[0]; b != 7 {
		return fmt.Errorf("the memory changed: %d", b)
	}
	return nil
}

func closeOne(inject func() error) error {
	return withMapping(inject, func(m *memfd.Mapping) error { return m.Close() })
}

func lockOne(inject func() error) error {
	return withMapping(inject, func(m *memfd.Mapping) error { return m.Lock() })
}

func prefaultOne(inject func() error) error {
	return withMapping(inject, func(m *memfd.Mapping) error { return m.Prefault() })
}

// The real vm.memfd_noexec=2 cannot be lowered again, but it belongs to a pid
// namespace, and a new one ends with its process.
func TestFault53NoExecInNamespace(t *testing.T) {
	cmd, err := proctest.Command("noexec")
	require.NoError(t, err)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) {
		t.Log("not tried: a pid namespace is not permitted here")
		return
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == noSysctl {
		t.Logf("not tried: %s", out)
		return
	}
	require.NoError(t, err, "%s", out)
}

const noSysctl = 3

func noExec([]string) int {
	if err := os.WriteFile("/proc/sys/vm/memfd_noexec", []byte("2"), 0); err != nil {
		fmt.Println(err)
		return noSysctl
	}
	if _, err := unix.MemfdCreate("executable", unix.MFD_CLOEXEC|unix.MFD_EXEC); !errors.Is(err, unix.EACCES) {
		return fail(fmt.Errorf("the setting has no effect, error is %v", err))
	}
	if err := createOne(func() error { return nil }); err != nil {
		return fail(err)
	}
	return 0
}
