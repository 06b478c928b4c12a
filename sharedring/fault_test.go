//go:build linux

package sharedring_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

const attackedCapacity = 504 // one page of uint64

// attackRole is a peer that holds the three descriptors and does what args[0]
// says. It prints a line when the attack runs, and ends when its input does.
func attackRole(args []string) int {
	h := inherited(attackedCapacity)
	var err error
	switch args[0] {
	case "fill":
		err = errors.Join(fillDoorbell(h.EmptySignal), fillDoorbell(h.FullSignal))
	case "refill":
		go func() {
			for {
				_ = fillDoorbell(h.EmptySignal)
				_ = fillDoorbell(h.FullSignal)
			}
		}()
	case "count":
		var mem []byte
		mem, err = unix.Mmap(h.Memory, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		go func() {
			for {
				binary.NativeEndian.PutUint64(mem, rand.Uint64N(600)*rand.Uint64N(2))
			}
		}()
	case "punch":
		err = unix.Fallocate(h.Memory, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096)
	case "ring":
		go func() {
			for {
				_, _ = unix.Write(h.EmptySignal, []byte{1, 0, 0, 0, 0, 0, 0, 0})
			}
		}()
	case "send":
		var tx *sharedring.Sender[uint64]
		if tx, err = sharedring.OpenSender[uint64](h); err == nil {
			for i := range uint64(atoi(args[1])) {
				_, err = tx.Send([]uint64{i})
			}
		}
	case "sleep":
	case "nonblock":
		err = errors.Join(unix.SetNonblock(h.EmptySignal, false), unix.SetNonblock(h.FullSignal, false))
	}
	if err != nil {
		return fail(err)
	}
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

// fillDoorbell leaves fd blocking and its counter full, so that a plain write
// blocks.
func fillDoorbell(fd int) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	_, err := unix.Write(fd, binary.NativeEndian.AppendUint64(nil, math.MaxUint64-1))
	if errors.Is(err, unix.EAGAIN) {
		_, err = unix.Write(fd, binary.NativeEndian.AppendUint64(nil, 1))
	}
	if errors.Is(err, unix.EAGAIN) {
		err = nil
	}
	return errors.Join(err, unix.SetNonblock(fd, false))
}

// attacked returns both ends of a ring whose descriptors an attacker holds too,
// once its attack runs.
func attacked(t *testing.T, attack string) (*sharedring.Sender[uint64], *sharedring.Receiver[uint64]) {
	t.Helper()
	tx, rx := pair[uint64](t, attackedCapacity)
	h, err := tx.Handle()
	require.NoError(t, err)
	child := proctest.Start(t, "attack", share(t, h), attack)
	line, err := child.Stdout.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return tx, rx
}

// exchange passes items one by one with both sides arming, so that each of them
// rings a doorbell.
func exchange(t *testing.T, tx *sharedring.Sender[uint64], rx *sharedring.Receiver[uint64], items int) {
	t.Helper()
	got := make([]uint64, tx.Len())
	for i := range uint64(items) {
		n, err := tx.Send([]uint64{i})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		n, err = rx.Receive(got)
		require.NoError(t, err)
		require.Equal(t, []uint64{i}, got[:n])
		armed(t, false, rx.Arm)
	}
	require.GreaterOrEqual(t, tx.Doorbells(), uint64(items))
}

func TestFault05RandomCountsByAPeer(t *testing.T) {
	tx, rx := attacked(t, "count")
	other, otherRx := pair[uint64](t, 10)
	var err error
	buf := make([]uint64, 100)
	for i := 0; i < 1_000_000 && err == nil; i++ {
		if _, err = tx.Send(buf); err == nil {
			_, err = rx.Receive(buf)
		}
	}
	require.ErrorIs(t, err, ringbuf.ErrCorrupt)
	exchange(t, other, otherRx, 100)
}

// memoryHandle returns a handle with that memory and two good doorbells.
func memoryHandle(t *testing.T, fd int) sharedring.Handle {
	t.Helper()
	h, err := sharedring.Create(attackedCapacity, 8)
	require.NoError(t, err)
	require.NoError(t, unix.Close(h.Memory))
	h.Memory = fd
	return h
}

// refused opens h, which must fail with want and leave no descriptor behind.
func refused(t *testing.T, h sharedring.Handle, want error) {
	t.Helper()
	_, err := sharedring.OpenReceiver[uint64](h)
	require.ErrorIs(t, err, want)
	for _, fd := range []int{h.Memory, h.EmptySignal, h.FullSignal} {
		for fd >= 0 && isOpen(fd) { // files are closed in the background
			if err := t.Context().Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

func rawMemfd(t *testing.T, size int64, flags int) int {
	t.Helper()
	fd, err := unix.MemfdCreate("peer", flags|unix.MFD_CLOEXEC)
	require.NoError(t, err)
	require.NoError(t, unix.Ftruncate(fd, size))
	return fd
}

func TestFault10ShrinkIsAdded(t *testing.T) {
	fd := rawMemfd(t, 4096, unix.MFD_ALLOW_SEALING)
	keep, err := unix.Dup(fd)
	require.NoError(t, err)
	defer unix.Close(keep)
	rx, err := sharedring.OpenReceiver[uint64](memoryHandle(t, fd))
	require.NoError(t, err)
	defer rx.Close()
	require.Error(t, unix.Ftruncate(keep, 0))
}

func TestFault11SealingNotAllowed(t *testing.T) {
	refused(t, memoryHandle(t, rawMemfd(t, 4096, 0)), memfd.ErrNotSealed)
}

func TestFault13OtherFilesAsMemory(t *testing.T) {
	disk, err := os.Create(filepath.Join(t.TempDir(), "memfd:fake"))
	require.NoError(t, err)
	defer disk.Close()
	require.NoError(t, disk.Truncate(4096))
	var pipe [2]int
	require.NoError(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	defer unix.Close(pipe[1])
	zero, err := unix.Open("/dev/zero", unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	diskFD, err := unix.Dup(int(disk.Fd()))
	require.NoError(t, err)
	for _, fd := range []int{diskFD, pipe[0], zero} {
		refused(t, memoryHandle(t, fd), memfd.ErrNotMemfd)
	}
}

func TestFault15EmptyMemory(t *testing.T) {
	refused(t, memoryHandle(t, rawMemfd(t, 0, unix.MFD_ALLOW_SEALING)), memfd.ErrTooSmall)
}

func TestFault16PagesTooFewOrTooMany(t *testing.T) {
	h := memoryHandle(t, rawMemfd(t, 4096, unix.MFD_ALLOW_SEALING))
	h.Capacity = attackedCapacity + 1
	refused(t, h, memfd.ErrTooSmall)
	rx, err := sharedring.OpenReceiver[uint64](memoryHandle(t, rawMemfd(t, 8192, unix.MFD_ALLOW_SEALING)))
	require.NoError(t, err)
	require.Equal(t, attackedCapacity, rx.Len(), "the capacity decides, not the file")
	require.NoError(t, rx.Close())
}

func TestFault20HolePunched(t *testing.T) {
	tx, rx := pair[uint64](t, attackedCapacity)
	_, err := tx.Send(make([]uint64, 3))
	require.NoError(t, err)
	_, err = rx.Available() // now it knows of three
	require.NoError(t, err)
	h, err := tx.Handle()
	require.NoError(t, err)
	child := proctest.Start(t, "attack", share(t, h), "punch")
	_, err = child.Stdout.ReadString('\n')
	require.NoError(t, err)
	_, err = rx.Available()
	require.ErrorIs(t, err, ringbuf.ErrCorrupt)
}

func TestFault24Capacities(t *testing.T) {
	before := proctest.Take()
	for _, capacity := range []int{0, -1, math.MinInt, math.MaxInt, math.MaxInt / 8, math.MaxInt/8 - 8} {
		_, err := sharedring.NewSender[uint64](capacity)
		require.ErrorIs(t, err, ringbuf.ErrRange, "%d", capacity)
		_, err = sharedring.Create(capacity, 8)
		require.ErrorIs(t, err, ringbuf.ErrRange, "%d", capacity)
	}
	_, err := sharedring.Create(10, 0)
	require.ErrorIs(t, err, ringbuf.ErrRange)
	_, err = sharedring.NewSender[uint64](math.MaxInt / 16)
	require.Error(t, err, "more than any machine has")
	require.Equal(t, before.FDs, proctest.Take().FDs)

	h, err := sharedring.Create(10, 8)
	require.NoError(t, err)
	h.Capacity = 0
	refused(t, h, ringbuf.ErrRange)
}

func TestFault25ReconnectsOfAHoarder(t *testing.T) {
	before := proctest.Take()
	for range 1000 {
		h, err := sharedring.Create(attackedCapacity, 8)
		require.NoError(t, err)
		hoarded, err := h.Dup()
		require.NoError(t, err)
		rx, err := sharedring.OpenReceiver[uint64](h)
		require.NoError(t, err)
		require.NotZero(t, allocated(t, hoarded.Memory))
		require.NoError(t, rx.Close())
		require.Zero(t, allocated(t, hoarded.Memory), "the receiver gave the pages back")
		tx, err := sharedring.OpenSender[uint64](hoarded)
		require.NoError(t, err)
		tx.HangUp(errors.New("gone"))
		require.NoError(t, tx.Close())
	}
	after := proctest.Take()
	require.Equal(t, before.FDs, after.FDs)
	require.Equal(t, before.Mappings, after.Mappings, "closed rings hold no shared page")
}

// allocated returns the 512-byte blocks of the file that hold memory.
func allocated(t *testing.T, fd int) int64 {
	t.Helper()
	var stat unix.Stat_t
	require.NoError(t, unix.Fstat(fd, &stat))
	return stat.Blocks
}

func TestFault27FullBlockingDoorbell(t *testing.T) {
	tx, rx := attacked(t, "fill")
	exchange(t, tx, rx, 1000)
}

func TestFault28RefilledDoorbell(t *testing.T) {
	tx, rx := attacked(t, "refill")
	before := proctest.Take()
	exchange(t, tx, rx, 20_000)
	require.LessOrEqual(t, proctest.Take().Threads, before.Threads+2)
}

func TestFault29ManyBlockingDoorbells(t *testing.T) {
	var pairs []func()
	before := proctest.Take()
	for range 500 {
		tx, rx := pair[uint64](t, 1)
		require.NoError(t, errors.Join(fillDoorbell(tx.FD()), fillDoorbell(rx.FD())))
		pairs = append(pairs, func() { exchange(t, tx, rx, 3) })
	}
	for _, use := range pairs {
		use()
	}
	require.LessOrEqual(t, proctest.Take().Threads, before.Threads+4)
}

// A peer may change the shared flag in either direction while we sleep.
func TestFault30FlagsChangedUnderASleeper(t *testing.T) {
	tx, rx := attacked(t, "nonblock")
	done := make(chan error, 1)
	before := proctest.Take()
	go func() { done <- expect(rx, 1) }()
	asleep(t, before)
	require.NoError(t, unix.SetNonblock(rx.FD(), false))
	_, err := tx.Send([]uint64{0})
	require.NoError(t, err)
	require.NoError(t, <-done)
}

func TestFault31SemaphoreAndPreloadedDoorbells(t *testing.T) {
	for _, flags := range []int{unix.EFD_SEMAPHORE, 0} {
		h, err := sharedring.Create(attackedCapacity, 8)
		require.NoError(t, err)
		for _, fd := range []*int{&h.EmptySignal, &h.FullSignal} {
			bell, err := unix.Eventfd(0, flags|unix.EFD_CLOEXEC)
			require.NoError(t, err)
			_, err = unix.Write(bell, binary.NativeEndian.AppendUint64(nil, math.MaxUint64-1))
			require.NoError(t, err)
			require.NoError(t, unix.Close(*fd))
			*fd = bell
		}
		other, err := h.Dup()
		require.NoError(t, err)
		tx, err := sharedring.OpenSender[uint64](h)
		require.NoError(t, err)
		rx, err := sharedring.OpenReceiver[uint64](other)
		require.NoError(t, err)
		bell := watch(t, rx.FD())
		require.True(t, edge(t, bell), "one spurious edge")
		require.False(t, edge(t, bell))
		_, err = tx.Send([]uint64{1})
		require.NoError(t, err)
		require.True(t, edge(t, bell), "and the real ones")
		_, err = rx.Receive(make([]uint64, 1))
		require.NoError(t, err)
		require.NoError(t, tx.Close())
		require.NoError(t, rx.Close())
	}
}

func TestFault32NotADoorbell(t *testing.T) {
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	require.NoError(t, err)
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	require.NoError(t, err)
	signal, err := unix.Signalfd(-1, &unix.Sigset_t{}, unix.SFD_CLOEXEC)
	require.NoError(t, err)
	file := rawMemfd(t, 8, 0)
	path, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(path)
	pathOnly, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", path), unix.O_PATH|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	for _, fd := range []int{timer, epoll, signal, file, pathOnly, -1, 1 << 20} {
		h, err := sharedring.Create(attackedCapacity, 8)
		require.NoError(t, err)
		require.NoError(t, unix.Close(h.FullSignal))
		h.FullSignal = fd
		refused(t, h, sharedring.ErrDoorbell)
	}
}

// Closing a socket can take as long as its owner said.
func TestFault32SocketThatLingers(t *testing.T) {
	fd, done := lingering(t)
	h, err := sharedring.Create(attackedCapacity, 8)
	require.NoError(t, err)
	require.NoError(t, unix.Close(h.FullSignal))
	h.FullSignal = fd
	refused(t, h, sharedring.ErrDoorbell)
	done() // this ends the wait of the close, which had not ended by itself
}

func TestFault33OneDescriptorTwice(t *testing.T) {
	h, err := sharedring.Create(attackedCapacity, 8)
	require.NoError(t, err)
	require.NoError(t, unix.Close(h.FullSignal))
	h.FullSignal = h.EmptySignal
	refused(t, h, sharedring.ErrDoorbell)

	h, err = sharedring.Create(attackedCapacity, 8)
	require.NoError(t, err)
	require.NoError(t, unix.Close(h.FullSignal))
	h.FullSignal = h.Memory
	refused(t, h, sharedring.ErrDoorbell)

	// Two descriptors of one eventfd: spurious edges, nothing else.
	h, err = sharedring.Create(attackedCapacity, 8)
	require.NoError(t, err)
	require.NoError(t, unix.Close(h.FullSignal))
	h.FullSignal, err = unix.Dup(h.EmptySignal)
	require.NoError(t, err)
	other, err := h.Dup()
	require.NoError(t, err)
	tx, err := sharedring.OpenSender[uint64](h)
	require.NoError(t, err)
	defer tx.Close()
	rx, err := sharedring.OpenReceiver[uint64](other)
	require.NoError(t, err)
	defer rx.Close()
	done := make(chan error)
	go func() { done <- expect(rx, 20_000) }()
	for i := range uint64(20_000) {
		_, err := tx.SendContext(t.Context(), []uint64{i})
		require.NoError(t, err)
	}
	require.NoError(t, <-done)
}

// A sender that is killed leaves a prefix of what it sent, all of which arrives.
func TestFault43SenderKilled(t *testing.T) {
	rx, err := sharedring.NewReceiver[uint64](attackedCapacity)
	require.NoError(t, err)
	defer rx.Close()
	h, err := rx.Handle()
	require.NoError(t, err)
	child := proctest.Start(t, "produce", share(t, h), strconv.Itoa(attackedCapacity), strconv.Itoa(math.MaxInt))
	require.NoError(t, expect(rx, 10_000))
	require.NoError(t, child.Kill())
	rx.HangUp(errors.New("killed"))
	buf, next := make([]uint64, 100), uint64(0)
	for {
		n, err := rx.ReceiveContext(t.Context(), buf)
		if err != nil {
			require.ErrorIs(t, err, sharedring.ErrPeerGone)
			return
		}
		if next == 0 {
			next = buf[0] // expect may have stopped within a batch
		}
		for _, v := range buf[:n] {
			require.Equal(t, next, v)
			next++
		}
	}
}

func TestFault44ReceiverKilledWithTheRingFull(t *testing.T) {
	tx, err := sharedring.NewSender[uint64](attackedCapacity)
	require.NoError(t, err)
	defer tx.Close()
	h, err := tx.Handle()
	require.NoError(t, err)
	child := proctest.Start(t, "consume", share(t, h), strconv.Itoa(attackedCapacity), "10")
	n, err := tx.SendContext(t.Context(), []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	require.NoError(t, err)
	require.Equal(t, 10, n)
	require.NoError(t, child.Wait())
	done := make(chan error, 1)
	before := proctest.Take()
	go func() {
		_, err := tx.SendContext(context.Background(), make([]uint64, 2*attackedCapacity))
		done <- err
	}()
	asleep(t, before)
	tx.HangUp(errors.New("killed"))
	require.ErrorIs(t, <-done, sharedring.ErrPeerGone)
}

func TestFault46StoppedSender(t *testing.T) {
	rx, err := sharedring.NewReceiver[uint64](10)
	require.NoError(t, err)
	defer rx.Close()
	h, err := rx.Handle()
	require.NoError(t, err)
	const items = 50_000
	child := proctest.Start(t, "produce", share(t, h), "10", strconv.Itoa(items))
	done := make(chan error, 1)
	go func() { done <- expect(rx, items) }()
	for range 20 { // anywhere, also between the add and the doorbell
		require.NoError(t, child.Signal(syscall.SIGSTOP))
		require.NoError(t, child.Signal(syscall.SIGCONT))
	}
	require.NoError(t, <-done)
	require.NoError(t, child.Wait())
}

// errnoRole makes rings while the kernel refuses a call, and tells what it got.
func errnoRole(args []string) int {
	nr, errno := atoi(args[0]), syscall.Errno(atoi(args[1]))
	proctest.Take() // opens the runtime's own descriptors
	before := proctest.Take()
	fault := proctest.Fault{Syscall: uintptr(nr), Errno: errno, Arg: -1}
	if nr == unix.SYS_MMAP { // the runtime needs its own
		fault.Arg, fault.Mask, fault.Value = 3, unix.MAP_SHARED, unix.MAP_SHARED
	}
	if err := proctest.InjectErrno(fault); err != nil {
		return fail(err)
	}
	for range 100 {
		tx, err := sharedring.NewSender[uint64](100)
		if err == nil {
			return fail(fmt.Errorf("a ring was made, %v expected", errno))
		}
		if tx != nil || !errors.Is(err, errno) {
			return fail(fmt.Errorf("got %w, %v expected", err, errno))
		}
	}
	if after := proctest.Take(); after.FDs != before.FDs || after.Mappings != before.Mappings {
		return fail(fmt.Errorf("leaked: %+v before, %+v after", before, after))
	}
	return 0
}

func TestFault54ErrnoInMakingARing(t *testing.T) {
	for _, f := range []struct {
		nr    int
		errno syscall.Errno
	}{
		{unix.SYS_MEMFD_CREATE, unix.EMFILE},
		{unix.SYS_MEMFD_CREATE, unix.ENOMEM},
		{unix.SYS_EVENTFD2, unix.EMFILE},
		{unix.SYS_EVENTFD2, unix.ENFILE},
		{unix.SYS_MMAP, unix.ENOMEM},
		{unix.SYS_FTRUNCATE, unix.EINVAL},
		{unix.SYS_IO_SETUP, unix.EAGAIN},
	} {
		child := proctest.Start(t, "errno", nil, strconv.Itoa(f.nr), strconv.Itoa(int(f.errno)))
		require.NoError(t, child.Wait(), "%d %v", f.nr, f.errno)
	}
}

func TestTrustedDoorbells(t *testing.T) {
	tx, rx := pair[uint64](t, 10, sharedring.TrustPeer())
	exchange(t, tx, rx, 100)
}
