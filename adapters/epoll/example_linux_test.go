package epoll_test

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/adapters/epoll"
	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// send makes a ring with three items in it, whose sender has ended.
func send() (*sharedring.Receiver[uint64], error) {
	rx, err := sharedring.NewReceiver[uint64](64)
	if err != nil {
		return nil, err
	}
	h, err := rx.Handle()
	if err != nil {
		return nil, err
	}
	tx, err := sharedring.OpenSender[uint64](h) // in another process, as a rule
	if err != nil {
		return nil, err
	}
	_, err = tx.Send([]uint64{10, 20, 30})
	rx.HangUp(err)
	return rx, tx.Close()
}

// A program's own loop, with a socket of its own, and a ring.
func ExampleDirect() {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer unix.Close(epfd)
	rings, err := epoll.NewDirect(epfd)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rings.Close()

	var pair [2]int
	if pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		fmt.Println(err)
		return
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(pair[0])}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, pair[0], &ev); err != nil {
		fmt.Println(err)
		return
	}

	rx, err := send()
	if err != nil {
		fmt.Println(err)
		return
	}
	buf := make([]uint64, 2)
	_, err = rings.Attach(rx, reactor.Handler{
		Ready: func(reactor.Event) error {
			n, err := rx.Receive(buf)
			if n > 0 {
				fmt.Println("from the ring:", buf[:n])
			}
			return err
		},
		Closed: func(err error) {
			fmt.Println("the ring ended:", err == io.EOF)
			rx.Close()
			_, _ = unix.Write(pair[1], []byte("goodbye"))
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	events := make([]unix.EpollEvent, 64)
	for done := false; !done; {
		n, err := unix.EpollWait(epfd, events, rings.Timeout(-1))
		if err != nil && err != unix.EINTR {
			fmt.Println(err)
			return
		}
		for i := range max(n, 0) {
			if rings.Dispatch(&events[i]) {
				continue
			}
			msg := make([]byte, 64)
			n, err := unix.Read(int(events[i].Fd), msg)
			fmt.Printf("from the socket: %s, %v\n", msg[:n], err)
			done = true
		}
		if err := rings.Turn(); err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// from the ring: [10 20]
	// from the ring: [30]
	// the ring ended: true
	// from the socket: goodbye, <nil>
}

func ExampleNested() {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer unix.Close(epfd)
	rings, err := epoll.NewNested(epfd)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rings.Close()

	rx, err := send()
	if err != nil {
		fmt.Println(err)
		return
	}
	done := false
	buf := make([]uint64, 2)
	_, err = rings.Attach(rx, reactor.Handler{
		Ready: func(reactor.Event) error {
			n, err := rx.Receive(buf)
			if n > 0 {
				fmt.Println("from the ring:", buf[:n])
			}
			return err
		},
		Closed: func(err error) {
			fmt.Println("the ring ended:", err == io.EOF)
			rx.Close()
			done = true
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	events := make([]unix.EpollEvent, 64)
	for !done {
		n, err := unix.EpollWait(epfd, events, -1)
		if err != nil && err != unix.EINTR {
			fmt.Println(err)
			return
		}
		for i := range max(n, 0) {
			if rings.Dispatch(&events[i]) {
				continue
			}
			fmt.Println("from a socket")
		}
	}
	// Output:
	// from the ring: [10 20]
	// from the ring: [30]
	// the ring ended: true
}
