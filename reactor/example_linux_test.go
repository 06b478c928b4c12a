package reactor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/reactor"
)

// mailbox is a ring in small: a count, and a doorbell that rings when the count
// leaves 0.
type mailbox struct {
	doorbell int // eventfd
	count    atomic.Int64
}

var _ reactor.Source = (*mailbox)(nil)

func newMailbox() (*mailbox, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return &mailbox{doorbell: fd}, err
}

func (m *mailbox) FD() int                { return m.doorbell }
func (m *mailbox) Pending() (bool, error) { return m.count.Load() > 0, nil }
func (m *mailbox) Arm() (bool, error)     { return m.Pending() }
func (m *mailbox) Close() error           { return unix.Close(m.doorbell) }

func (m *mailbox) put(n int64) {
	if m.count.Add(n) == n {
		_, _ = unix.Write(m.doorbell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

func ExampleLoop() {
	loop, err := reactor.NewLoop()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loop.Close()

	ctx, cancel := context.WithCancel(context.Background())
	_ = loop.Post(func() {
		fmt.Println("on the loop")
		cancel()
	})
	fmt.Println(loop.Run(ctx))
	// Output:
	// on the loop
	// context canceled
}

func ExampleLoop_Attach() {
	loop, err := reactor.NewLoop()
	if err != nil {
		fmt.Println(err)
		return
	}
	box, err := newMailbox()
	if err != nil {
		fmt.Println(err)
		return
	}
	box.put(3)
	_, err = loop.Attach(box, reactor.Handler{
		Ready: func(reactor.Event) error {
			fmt.Println("take one, left:", box.count.Add(-1))
			if box.count.Load() == 0 {
				return io.EOF
			}
			return nil // another turn follows by itself
		},
		Closed: func(err error) {
			fmt.Println("closed:", err)
			box.Close()
			loop.Close()
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = loop.Run(context.Background())
	fmt.Println(errors.Is(err, reactor.ErrClosed))
	// Output:
	// take one, left: 2
	// take one, left: 1
	// take one, left: 0
	// closed: EOF
	// true
}

// A host drives the loop from its own, and waits on the loop's descriptor.
func ExampleLoop_Poll() {
	loop, err := reactor.NewLoop()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loop.Close()
	_ = loop.Post(func() { fmt.Println("posted") })

	fds := []unix.PollFd{{Fd: int32(loop.FD()), Events: unix.POLLIN}}
	n, _ := unix.Poll(fds, 0)
	fmt.Println("readable:", n)
	callbacks, _ := loop.Poll(0)
	fmt.Println("callbacks:", callbacks)
	n, _ = unix.Poll(fds, 0)
	fmt.Println("readable:", n)
	// Output:
	// readable: 1
	// posted
	// callbacks: 1
	// readable: 0
}

func ExampleLoop_Register() {
	loop, err := reactor.NewLoop()
	if err != nil {
		fmt.Println(err)
		return
	}
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	_, _ = w.WriteString("hello")
	w.Close()

	ctx, cancel := context.WithCancel(context.Background())
	fd := int(r.Fd())
	_, err = loop.Register(fd, reactor.Readable, reactor.Handler{
		Ready: func(ev reactor.Event) error {
			fmt.Println(ev)
			buf := make([]byte, 16)
			n, err := unix.Read(fd, buf)
			if n <= 0 {
				return errors.Join(io.EOF, err)
			}
			fmt.Printf("%s\n", buf[:n])
			return nil
		},
		Closed: func(err error) {
			fmt.Println(err)
			cancel()
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = loop.Run(ctx)
	_ = loop.Close()
	// Output:
	// readable|hang-up
	// hello
	// hang-up
	// EOF
}

func ExampleRegistration_Pause() {
	loop, err := reactor.NewLoop()
	if err != nil {
		fmt.Println(err)
		return
	}
	box, err := newMailbox()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer box.Close()
	defer loop.Close()
	reg, err := loop.Attach(box, reactor.Handler{Ready: func(reactor.Event) error {
		fmt.Println("took", box.count.Swap(0))
		return nil
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	reg.Pause()
	box.put(5)
	n, _ := loop.Poll(0)
	fmt.Println("callbacks in the pause:", n)
	_ = reg.Resume()
	_, _ = loop.Poll(0)
	// Output:
	// callbacks in the pause: 0
	// took 5
}

func ExamplePanicError() {
	loop, err := reactor.NewLoop()
	if err != nil {
		fmt.Println(err)
		return
	}
	box, err := newMailbox()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer box.Close()
	defer loop.Close()
	_, err = loop.Attach(box, reactor.Handler{
		Ready: func(reactor.Event) error { panic("a bug") },
		Closed: func(err error) {
			var p *reactor.PanicError
			fmt.Println(errors.As(err, &p), p.Value)
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = loop.Poll(0)
	fmt.Println("panics:", loop.Stats().Panics)
	// Output:
	// true a bug
	// panics: 1
}

// Many posts, one wake.
func ExampleStats() {
	loop, err := reactor.NewLoop()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loop.Close()
	for range 3 {
		_ = loop.Post(func() {})
	}
	_, _ = loop.Poll(0)
	stats := loop.Stats()
	fmt.Println("posts:", stats.Posts, "wakes:", stats.Wakes)
	// Output:
	// posts: 3 wakes: 1
}
