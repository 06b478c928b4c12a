package realring

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring"
)

// patience ends a test that hangs; nothing is measured with it.
const patience = time.Minute

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Role{
		"flood":   role(floodRole),
		"fall":    role(fallRole),
		"receive": role(receiveRole),
		"stop":    role(stopRole),
		"finish":  role(finishRole),
	})
}

// role is a proctest.Role with a ring as descriptors 3, 4 and 5 and its capacity as
// the argument.
func role(f func(h sharedring.Handle) error) proctest.Role {
	return func(args []string) int {
		capacity, err := strconv.Atoi(args[0])
		if err == nil {
			err = f(sharedring.Handle{Capacity: capacity, ItemSize: 8, Memory: 3, EmptySignal: 4, FullSignal: 5})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
}

// floodRole sends 0, 1, 2, ... until it is killed.
func floodRole(h sharedring.Handle) error {
	tx, err := sharedring.OpenSender[uint64](h)
	if err != nil {
		return err
	}
	for next := uint64(0); ; next++ {
		if _, err := tx.SendContext(context.Background(), []uint64{next}); err != nil {
			return err
		}
	}
}

// fallRole sends 0, ..., 99 and kills itself between the shared write of 100 and its
// doorbell.
func fallRole(h sharedring.Handle) error {
	tx, err := sharedring.OpenSender[uint64](h, sharedring.WithHold(0))
	if err != nil {
		return err
	}
	for next := range uint64(100) {
		if _, err := tx.Send([]uint64{next}); err != nil {
			return err
		}
	}
	if err := said(); err != nil {
		return err
	}
	if _, _, err := tx.Raw().Send([]uint64{100}); err != nil {
		return err
	}
	return unix.Kill(os.Getpid(), unix.SIGKILL)
}

// receiveRole takes ten items, says so, and takes no more.
func receiveRole(h sharedring.Handle) error {
	rx, err := sharedring.OpenReceiver[uint64](h)
	if err != nil {
		return err
	}
	for range 10 {
		if _, err := rx.ReceiveContext(context.Background(), make([]uint64, 1)); err != nil {
			return err
		}
	}
	fmt.Println("received")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// stopRole sends 0, and when it is told to, 1, ..., 9, but stops itself before the
// doorbell.
func stopRole(h sharedring.Handle) error {
	tx, err := sharedring.OpenSender[uint64](h, sharedring.WithHold(0))
	if err != nil {
		return err
	}
	if _, err := tx.Send([]uint64{0}); err != nil {
		return err
	}
	if err := said(); err != nil {
		return err
	}
	if _, _, err := tx.Raw().Send([]uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}); err != nil {
		return err
	}
	// Sent to this thread, the signal stops it before the next line.
	runtime.LockOSThread()
	if err := unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP); err != nil {
		return err
	}
	if err := tx.Signal(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// finishRole sends 0, ..., 999 and closes its end.
func finishRole(h sharedring.Handle) error {
	tx, err := sharedring.OpenSender[uint64](h)
	if err != nil {
		return err
	}
	for next := range uint64(1000) {
		if _, err := tx.SendContext(context.Background(), []uint64{next}); err != nil {
			return err
		}
	}
	return tx.Close()
}

// said waits for a line of input.
func said() error {
	fmt.Println("up")
	_, err := bufio.NewReader(os.Stdin).ReadByte()
	return err
}
