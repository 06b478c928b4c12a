package waiting

import (
	"context"
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/reactor"
)

// arm is one way to wait. The first has no loop at all. The next four drive one by
// Poll and so pay the same for it; the last three are the loop's own.
type arm struct {
	name string
	opts []reactor.Option
	wait func(context.Context, *reactor.Loop) error // until ctx ends; a post follows that
}

var (
	unspun = []reactor.Option{reactor.WithSpin(0), reactor.WithNap(0)}
	arms   = []arm{
		{"goroutine a ring", nil, nil},
		{"block", unspun, block},
		{"netpoller", unspun, netpoller},
		{"look-block", unspun, look(func() {})},
		{"look-yield-block", unspun, look(runtime.Gosched)},
		{"Run, spin 0", unspun, run},
		{"Run, nap 0", []reactor.Option{reactor.WithNap(0)}, run},
		{"Run", nil, run},
	}
)

// block sleeps in epoll_wait. The runtime takes the processor away from the
// goroutine there, after 20 us or more, and has to find one for it afterwards.
func block(ctx context.Context, l *reactor.Loop) error {
	for ctx.Err() == nil {
		if _, err := l.Poll(-1); err != nil {
			return err
		}
	}
	return nil
}

// netpoller parks the goroutine until Go's own epoll says that the loop's is
// readable. That epoll is edge-triggered, so all is done before the next sleep.
func netpoller(ctx context.Context, l *reactor.Loop) error {
	fd, err := unix.FcntlInt(uintptr(l.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // else os.NewFile does not use the netpoller
		return errors.Join(err, unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "loop")
	defer file.Close()
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var pollErr error
	err = conn.Read(func(uintptr) (done bool) {
		for ctx.Err() == nil {
			n, err := l.Poll(0)
			if n == 0 || err != nil {
				pollErr = err
				return err != nil
			}
		}
		return true
	})
	return errors.Join(err, pollErr)
}

// look sleeps as block does, but only after a look that found nothing, and after
// giving way to other goroutines or not.
func look(yield func()) func(context.Context, *reactor.Loop) error {
	return func(ctx context.Context, l *reactor.Loop) error {
		for ctx.Err() == nil {
			n, err := l.Poll(0)
			if n == 0 && err == nil {
				yield()
				_, err = l.Poll(-1)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// run is what users get.
func run(ctx context.Context, l *reactor.Loop) error {
	if err := l.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
