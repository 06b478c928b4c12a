package epoll

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// System calls fail, in a process of their own: the error is told and nothing leaks.
func TestFault54InjectedErrors(t *testing.T) {
	for name := range injections {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, proctest.Start(t, "inject", nil, name).Wait())
		})
	}
}

func injectRole(args []string) int {
	if err := inject(injections[args[0]]); err != nil {
		fmt.Fprintln(os.Stderr, args[0], err)
		return 1
	}
	return 0
}

// epollCtl is a fault of epoll_ctl with operation op.
func epollCtl(op uint64, errno unix.Errno) proctest.Fault {
	return proctest.Fault{Syscall: unix.SYS_EPOLL_CTL, Errno: errno, Arg: 1, Mask: 0xffff, Value: op}
}

var injections = map[string]func(epfd int) error{
	"eventfd": func(epfd int) error {
		f := proctest.Fault{Syscall: unix.SYS_EVENTFD2, Errno: unix.EMFILE, Arg: -1}
		if err := proctest.InjectErrno(f); err != nil {
			return err
		}
		_, err := NewDirect(epfd)
		return want(err, f.Errno)
	},
	"add of the wake-up": func(epfd int) error {
		f := epollCtl(unix.EPOLL_CTL_ADD, unix.ENOMEM)
		if err := proctest.InjectErrno(f); err != nil {
			return err
		}
		_, err := NewDirect(epfd)
		return want(err, f.Errno)
	},
	"add of a loop": func(epfd int) error {
		// The loop's own add must work: only its descriptor is refused, which is the
		// next free one.
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return err
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
		f := proctest.Fault{Syscall: unix.SYS_EPOLL_CTL, Errno: unix.ENOSPC, Arg: 2, Mask: 0xffffffff, Value: uint64(fd)}
		if err := proctest.InjectErrno(f); err != nil {
			return err
		}
		_, err = NewNested(epfd)
		return want(err, f.Errno)
	},
	"add of a ring": func(epfd int) error {
		return withDirect(epfd, func(d *Direct, rx *sharedring.Receiver[uint64]) error {
			f := epollCtl(unix.EPOLL_CTL_ADD, unix.ENOSPC)
			if err := proctest.InjectErrno(f); err != nil {
				return err
			}
			_, err := d.Attach(rx, reactor.Handler{Ready: func(reactor.Event) error { return nil }})
			if n := d.Stats().Registered; n != 0 {
				return fmt.Errorf("%d registered", n)
			}
			return errors.Join(want(err, f.Errno), d.Close())
		})
	},
	"delete": func(epfd int) error {
		return withDirect(epfd, func(d *Direct, rx *sharedring.Receiver[uint64]) error {
			reg, err := d.Attach(rx, reactor.Handler{Ready: func(reactor.Event) error { return nil }})
			if err != nil {
				return err
			}
			f := epollCtl(unix.EPOLL_CTL_DEL, unix.ENOMEM)
			if err := proctest.InjectErrno(f); err != nil {
				return err
			}
			return errors.Join(want(reg.Close(), f.Errno), want(d.Close(), f.Errno), want(d.Close(), f.Errno))
		})
	},
	"wake-up": func(epfd int) error {
		return withDirect(epfd, func(d *Direct, rx *sharedring.Receiver[uint64]) error {
			f := proctest.Fault{Syscall: unix.SYS_WRITE, Errno: unix.EIO, Arg: 0, Mask: 0xffffffff, Value: uint64(d.host.wakefd)}
			if err := proctest.InjectErrno(f); err != nil {
				return err
			}
			return errors.Join(want(d.Post(func() {}), f.Errno), d.Close())
		})
	},
}

func withDirect(epfd int, f func(d *Direct, rx *sharedring.Receiver[uint64]) error) error {
	rx, err := sharedring.NewReceiver[uint64](64)
	if err != nil {
		return err
	}
	d, err := NewDirect(epfd)
	if err != nil {
		return err
	}
	return errors.Join(f(d, rx), rx.Close())
}

// inject runs f and looks for what it left behind.
func inject(f func(epfd int) error) error {
	warm, err := reactor.NewGuest(host{}) // measures what a wake-up costs, once in a process
	if err != nil {
		return err
	}
	if err := warm.Close(); err != nil {
		return err
	}
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	before := proctest.Take()
	if err := f(epfd); err != nil {
		return err
	}
	if after := proctest.Take(); after.FDs != before.FDs || after.Mappings != before.Mappings {
		return fmt.Errorf("leaked: %+v before, %+v after", before, after)
	}
	return nil
}

func want(err error, errno unix.Errno) error {
	if !errors.Is(err, errno) {
		return fmt.Errorf("got %v, want %v", err, errno)
	}
	return nil
}
