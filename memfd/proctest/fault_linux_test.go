package proctest_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
)

func TestInjectErrno(t *testing.T) {
	for _, what := range []string{"none", "always", "argument", "high half", "first wins", "all threads", "bad argument"} {
		t.Run(what, func(t *testing.T) {
			require.NoError(t, proctest.Start(t, "inject", nil, what).Wait())
		})
	}
}

// inject is a role, because a filter cannot be taken away again.
func inject(args []string) int {
	if err := checkInjected(args[0]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func checkInjected(what string) error {
	noPgid := proctest.Fault{Syscall: unix.SYS_GETPGID, Errno: unix.ENFILE, Arg: -1}
	switch what {
	case "none":
		if err := proctest.InjectErrno(); err != nil {
			return err
		}
		return expect(nil, getpgid(0))
	case "always":
		if err := proctest.InjectErrno(noPgid); err != nil {
			return err
		}
		return errors.Join(expect(unix.ENFILE, getpgid(0)), expect(nil, getsid(0)))
	case "argument":
		fault := proctest.Fault{Syscall: unix.SYS_GETPGID, Errno: unix.EMFILE, Mask: 0xf0, Value: 0x50}
		if err := proctest.InjectErrno(fault); err != nil {
			return err
		}
		return errors.Join(
			expect(unix.EMFILE, getpgid(0x7fff0053)), // no such process, were the call made
			expect(unix.ESRCH, getpgid(0x7fff0063)),
			expect(nil, getpgid(0)))
	case "high half":
		fault := proctest.Fault{Syscall: unix.SYS_LSEEK, Errno: unix.EIO, Arg: 1, Mask: 1 << 40, Value: 1 << 40}
		if err := proctest.InjectErrno(fault); err != nil {
			return err
		}
		return errors.Join(expect(unix.EIO, seek(1<<40|7)), expect(unix.EBADF, seek(1<<8)), expect(unix.EBADF, seek(1<<41)))
	case "first wins":
		if err := proctest.InjectErrno(noPgid, proctest.Fault{Syscall: unix.SYS_GETPGID, Errno: unix.EIO, Arg: -1}); err != nil {
			return err
		}
		return expect(unix.ENFILE, getpgid(0))
	case "all threads":
		return checkAllThreads(noPgid)
	case "bad argument":
		if err := proctest.InjectErrno(proctest.Fault{Arg: 6}); err == nil {
			return errors.New("a fault in argument 6 was accepted")
		}
		return nil
	}
	return fmt.Errorf("no case %q", what)
}

// checkAllThreads has many threads that were there before the filter.
func checkAllThreads(fault proctest.Fault) error {
	const threads = 8
	ready, goOn, results := make(chan bool), make(chan bool), make(chan error)
	for range threads {
		go func() {
			runtime.LockOSThread() // ends with the goroutine
			ready <- true
			<-goOn
			results <- expect(fault.Errno, getpgid(0))
		}()
	}
	for range threads {
		<-ready
	}
	if err := proctest.InjectErrno(fault); err != nil {
		return err
	}
	close(goOn)
	var all error
	for range threads {
		all = errors.Join(all, <-results)
	}
	return all
}

func getpgid(pid int) error { _, err := unix.Getpgid(pid); return err }
func getsid(pid int) error  { _, err := unix.Getsid(pid); return err }
func seek(to int64) error   { _, err := unix.Seek(-1, to, 0); return err }

func expect(want, got error) error {
	if want == nil && got == nil {
		return nil
	}
	if errno, ok := want.(syscall.Errno); ok && errors.Is(got, errno) {
		return nil
	}
	return fmt.Errorf("error is %v, want %v", got, want)
}
