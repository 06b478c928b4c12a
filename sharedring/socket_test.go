//go:build linux

package sharedring_test

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"strconv"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring"
)

// sendRole is produceRole with a clean end.
func sendRole(args []string) int {
	tx, err := sharedring.OpenSender[uint64](inherited(atoi(args[0])))
	if err != nil {
		return fail(err)
	}
	for i := range atoi(args[1]) {
		if _, err := tx.SendContext(context.Background(), []uint64{uint64(i)}); err != nil {
			return fail(err)
		}
	}
	if err := tx.Close(); err != nil {
		return fail(err)
	}
	return 0
}

// receiveRole is consumeRole with a clean end.
func receiveRole(args []string) int {
	rx, err := sharedring.OpenReceiver[uint64](inherited(atoi(args[0])))
	if err != nil {
		return fail(err)
	}
	if err := errors.Join(expect(rx, atoi(args[1])), rx.Close()); err != nil {
		return fail(err)
	}
	return 0
}

// startWith starts a process that holds h, and no copy of it is kept here.
func startWith(t testing.TB, role string, h sharedring.Handle, args ...string) *proctest.Process {
	t.Helper()
	files := share(t, h)
	p := proctest.Start(t, role, files, args...)
	for _, f := range files {
		require.NoError(t, f.Close())
	}
	return p
}

// openPair opens both ends of a ring that CreatePair made, and returns their handles
// as numbers to look at.
func openPair[T any](t testing.TB, capacity int, opts ...sharedring.Option) (tx *sharedring.Sender[T], rx *sharedring.Receiver[T], sender, receiver sharedring.Handle) {
	t.Helper()
	var item T
	sender, receiver, err := sharedring.CreatePair(capacity, int(unsafe.Sizeof(item)), append(opts, sharedring.WithSocketDoorbells())...)
	require.NoError(t, err)
	tx, err = sharedring.OpenSender[T](sender, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tx.Close()) })
	rx, err = sharedring.OpenReceiver[T](receiver, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, rx.Close()) })
	return tx, rx, sender, receiver
}

// receiveAll receives the numbers 0 to n-1 and then the end of the ring, which it
// returns.
func receiveAll(t *testing.T, n int, receive func(dst []uint64) (int, error)) error {
	t.Helper()
	buf := make([]uint64, 100)
	for next := 0; ; {
		got, err := receive(buf)
		for _, v := range buf[:got] {
			require.EqualValues(t, next, v)
			next++
		}
		if err != nil {
			require.Equal(t, n, next)
			return err
		}
	}
}

// ways to receive: a blocking call, and an event loop of the test's own.
func ways(t *testing.T, rx *sharedring.Receiver[uint64]) map[string]func([]uint64) (int, error) {
	bell := watch(t, rx.FD())
	return map[string]func([]uint64) (int, error){
		"blocking": func(dst []uint64) (int, error) { return rx.ReceiveContext(context.Background(), dst) },
		"epoll": func(dst []uint64) (int, error) {
			n, err := rx.Receive(dst)
			for n == 0 && err == nil {
				var pending bool
				if pending, err = rx.Arm(); err == nil && !pending {
					wait(t, bell)
				}
				if err == nil {
					n, err = rx.Receive(dst)
				}
			}
			return n, err
		},
	}
}

// wait waits for an edge, for ever.
func wait(t *testing.T, ep int) {
	t.Helper()
	for {
		_, err := unix.EpollWait(ep, make([]unix.EpollEvent, 1), -1)
		if !errors.Is(err, unix.EINTR) {
			require.NoError(t, err)
			return
		}
	}
}

func TestSocketsAcrossProcesses(t *testing.T) {
	const items = 20_000
	for _, capacity := range []int{1, 1000} {
		for way := range ways(t, mustReceiver(t)) {
			rx, err := sharedring.NewReceiver[uint64](capacity, sharedring.WithSocketDoorbells())
			require.NoError(t, err)
			h, err := rx.Handle()
			require.NoError(t, err)
			child := startWith(t, "send", h, strconv.Itoa(capacity), strconv.Itoa(items))
			require.Equal(t, io.EOF, receiveAll(t, items, ways(t, rx)[way]))
			require.NoError(t, child.Wait())
			require.NoError(t, rx.Close())
		}

		tx, err := sharedring.NewSender[uint64](capacity, sharedring.WithSocketDoorbells())
		require.NoError(t, err)
		h, err := tx.Handle()
		require.NoError(t, err)
		child := startWith(t, "receive", h, strconv.Itoa(capacity), strconv.Itoa(items))
		for i := range uint64(items) {
			_, err := tx.SendContext(context.Background(), []uint64{i})
			require.NoError(t, err)
		}
		require.NoError(t, child.Wait())
		_, err = tx.SendContext(context.Background(), make([]uint64, 3*tx.Len()))
		require.ErrorIs(t, err, sharedring.ErrPeerGone, "that the receiver closed is seen by who waits")
		require.NoError(t, tx.Close())
	}
}

func mustReceiver(t *testing.T) *sharedring.Receiver[uint64] {
	_, rx := pair[uint64](t, 1)
	return rx
}

// The same as TestArmedEndsAreTold.
func TestSocketsOfArmedEnds(t *testing.T) {
	tx, rx := pair[uint64](t, 1, sharedring.WithSocketDoorbells())
	room, data := watch(t, tx.FD()), watch(t, rx.FD())
	buf := make([]uint64, 1000)
	_, err := tx.Send(buf)
	require.NoError(t, err)
	require.True(t, edge(t, data), "from empty")
	armed(t, true, tx.Arm)
	_, err = tx.Send(buf)
	require.NoError(t, err)
	armed(t, false, tx.Arm)
	_, err = rx.Receive(buf)
	require.NoError(t, err)
	require.True(t, edge(t, room), "from full")
	armed(t, true, tx.Pending)
	_, err = rx.Receive(buf)
	require.NoError(t, err)
	armed(t, false, rx.Arm)
	_, err = tx.Send(buf[:1])
	require.NoError(t, err)
	require.True(t, edge(t, data), "an armed one")
	require.EqualValues(t, 2, tx.Doorbells())
	require.EqualValues(t, 1, rx.Doorbells())
}

// Every bell is an edge, also if none is taken, until there is no room for more. What
// is rung then is seen by who arms.
func TestSocketsThatAreFull(t *testing.T) {
	tx, rx := pair[uint64](t, 100, sharedring.WithSocketDoorbells(), sharedring.WithHold(0))
	data := watch(t, rx.FD())
	edges := 0
	for range 10_000 {
		require.NoError(t, tx.Signal())
		if edge(t, data) {
			edges++
		}
	}
	require.Greater(t, edges, 1)
	require.Less(t, edges, 10_000)
	_, err := tx.Send([]uint64{7}) // its bell has no room
	require.NoError(t, err)
	require.False(t, edge(t, data))
	armed(t, true, rx.Arm)
	_, err = rx.Receive(make([]uint64, 1))
	require.NoError(t, err)
	armed(t, false, rx.Arm)
	_, err = tx.Send([]uint64{8})
	require.NoError(t, err)
	require.True(t, edge(t, data), "there is room for bells again")
}

// The bell of nearly every item and of nearly every release meets a full buffer, and
// both sides sleep without a limit: one lost wake-up is the end.
func TestSocketsThatAreFullLoseNoWakeUp(t *testing.T) {
	const items = 5_000
	type page [4000]byte
	tx, rx, sender, receiver := openPair[page](t, 1, sharedring.WithHold(0))
	require.Equal(t, 1, tx.Len(), "both sides sleep at each item")
	for _, fd := range []int{sender.EmptySignal, receiver.FullSignal} {
		require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1)) // the least there is
	}
	fill := func(signal func() error) error {
		for range 8 {
			if err := signal(); err != nil {
				return err
			}
		}
		return nil
	}
	done := make(chan error, 1)
	go func() {
		for i := range items {
			err := fill(tx.Signal)
			if err == nil {
				_, err = tx.SendContext(context.Background(), []page{{byte(i)}})
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- tx.Close()
	}()
	data, next := watch(t, rx.FD()), 0
	for {
		n, err := rx.ReceiveEach(1, func(p page) {
			require.Equal(t, byte(next), p[0])
			next++
			require.NoError(t, fill(rx.Signal))
		})
		if err != nil {
			require.Equal(t, io.EOF, err)
			break
		}
		if n > 0 {
			continue
		}
		pending, err := rx.Arm()
		require.NoError(t, err)
		if !pending {
			wait(t, data)
		}
	}
	require.Equal(t, items, next)
	require.NoError(t, <-done)
}

// More bells than one call takes count as work.
func TestSocketsInAStorm(t *testing.T) {
	tx, rx, sender, _ := openPair[uint64](t, 100)
	require.NoError(t, unix.SetsockoptInt(sender.EmptySignal, unix.SOL_SOCKET, unix.SO_SNDBUF, math.MaxInt32))
	for range 10_000 {
		require.NoError(t, tx.Signal())
	}
	pending, calls := true, 0
	for pending {
		var err error
		pending, err = rx.Arm()
		require.NoError(t, err)
		calls++
	}
	require.Greater(t, calls, 1)
	require.NoError(t, tx.Close())
	_, err := rx.ReceiveContext(t.Context(), make([]uint64, 1))
	require.Equal(t, io.EOF, err)
}

// A peer in another process rings as fast as it can.
func TestFault35StormOfSocketBells(t *testing.T) {
	rx, err := sharedring.NewReceiver[uint64](attackedCapacity, sharedring.WithSocketDoorbells())
	require.NoError(t, err)
	defer rx.Close()
	h, err := rx.Handle()
	require.NoError(t, err)
	child := startWith(t, "attack", h, "ring")
	_, err = child.Stdout.ReadString('\n')
	require.NoError(t, err)
	other, otherRx := pair[uint64](t, 10, sharedring.WithSocketDoorbells())
	data := watch(t, rx.FD())
	for range 100 {
		wait(t, data)
		_, err := rx.Arm()
		require.NoError(t, err)
		n, err := rx.Receive(make([]uint64, 1))
		require.NoError(t, err)
		require.Zero(t, n)
		exchange(t, other, otherRx, 10)
	}
	require.NoError(t, child.Kill())
	_, err = rx.ReceiveContext(t.Context(), make([]uint64, 1))
	require.ErrorIs(t, err, sharedring.ErrPeerGone)
}

func TestSocketsOfADeadSender(t *testing.T) {
	for _, way := range []string{"blocking", "epoll"} {
		rx, err := sharedring.NewReceiver[uint64](attackedCapacity, sharedring.WithSocketDoorbells())
		require.NoError(t, err)
		h, err := rx.Handle()
		require.NoError(t, err)
		child := startWith(t, "attack", h, "send", "100") // and say nothing at the end
		_, err = child.Stdout.ReadString('\n')
		require.NoError(t, err)
		require.NoError(t, child.Kill())
		err = receiveAll(t, 100, ways(t, rx)[way])
		require.ErrorIs(t, err, sharedring.ErrPeerGone)
		require.ErrorContains(t, err, "farewell")
		require.NoError(t, rx.Close())
	}
}

func TestSocketsOfADeadReceiver(t *testing.T) {
	tx, err := sharedring.NewSender[uint64](1, sharedring.WithSocketDoorbells())
	require.NoError(t, err)
	h, err := tx.Handle()
	require.NoError(t, err)
	child := startWith(t, "attack", h, "sleep")
	_, err = child.Stdout.ReadString('\n')
	require.NoError(t, err)
	done := make(chan error, 1)
	before := proctest.Take()
	go func() {
		_, err := tx.SendContext(context.Background(), make([]uint64, 3*tx.Len()))
		done <- err
	}()
	asleep(t, before)
	require.NoError(t, child.Kill())
	require.ErrorIs(t, <-done, sharedring.ErrPeerGone)
	require.NoError(t, tx.Close())
}

// A sender with nothing to send is told, too.
func TestSocketsOfAnIdleSender(t *testing.T) {
	for _, clean := range []bool{true, false} {
		tx, rx, _, receiver := openPair[uint64](t, 10)
		room := watch(t, tx.FD())
		armed(t, false, tx.Arm)
		require.False(t, edge(t, room))
		if clean {
			require.NoError(t, rx.Close())
		} else {
			require.NoError(t, unix.Shutdown(receiver.FullSignal, unix.SHUT_WR)) // what a death looks like
		}
		require.True(t, edge(t, room))
		_, err := tx.Arm()
		require.ErrorIs(t, err, sharedring.ErrPeerGone)
		_, err = tx.Send([]uint64{1})
		require.ErrorIs(t, err, sharedring.ErrPeerGone)
	}
}

// A farewell finds room among bells that nobody took, and is found behind them.
func TestSocketsFarewellBehindBells(t *testing.T) {
	tx, rx := pair[uint64](t, 10, sharedring.WithSocketDoorbells())
	for range 10_000 {
		require.NoError(t, tx.Signal())
	}
	require.NoError(t, tx.Close())
	_, err := rx.ReceiveContext(t.Context(), make([]uint64, 1))
	require.Equal(t, io.EOF, err)
}

// Bells that a closed peer does not hear are no errors, and do not hide its farewell.
func TestSocketsUnheardBells(t *testing.T) {
	tx, rx := pair[uint64](t, 1, sharedring.WithSocketDoorbells(), sharedring.WithHold(0))
	sent, err := tx.Send(make([]uint64, tx.Len()))
	require.NoError(t, err)
	require.Equal(t, tx.Len(), sent)
	require.NoError(t, tx.Close())
	buf := make([]uint64, sent-1)
	n, err := rx.Receive(buf) // from full: it rings
	require.NoError(t, err)
	require.Equal(t, len(buf), n)
	require.EqualValues(t, 1, rx.Doorbells())
	n, err = rx.Receive(buf)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = rx.Receive(buf)
	require.Equal(t, io.EOF, err)
	require.NoError(t, rx.Signal())
}

// A peer that stopped listening, and is still there, has ended for us.
func TestSocketsOfADeafPeer(t *testing.T) {
	tx, _, _, receiver := openPair[uint64](t, 10)
	require.NoError(t, unix.Shutdown(receiver.EmptySignal, unix.SHUT_RD))
	n, err := tx.Send([]uint64{1})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = tx.Send([]uint64{2})
	require.ErrorIs(t, err, sharedring.ErrPeerGone)
	require.ErrorIs(t, err, unix.EPIPE)
}

func TestSocketsHangUpWakes(t *testing.T) {
	tx, rx := pair[uint64](t, 10, sharedring.WithSocketDoorbells())
	room, data := watch(t, tx.FD()), watch(t, rx.FD())
	done := make(chan error, 1)
	before := proctest.Take()
	go func() {
		_, err := rx.ReceiveContext(context.Background(), make([]uint64, 1))
		done <- err
	}()
	asleep(t, before)
	require.False(t, edge(t, data))
	crash := errors.New("crash")
	rx.HangUp(crash)
	require.True(t, edge(t, data))
	require.ErrorIs(t, <-done, crash)
	require.False(t, edge(t, room), "that is an edge on this side only")
	_, err := tx.Send([]uint64{1})
	require.NoError(t, err)
	_, err = tx.Send([]uint64{1})
	require.ErrorIs(t, err, sharedring.ErrPeerGone, "but its peer learns of it when it rings")
	require.True(t, edge(t, room))
}

// What the doorbell has to say comes before what others say later.
func TestSocketsFarewellBeforeALifeline(t *testing.T) {
	for _, farewell := range []bool{true, false} {
		tx, rx := pair[uint64](t, 10, sharedring.WithSocketDoorbells())
		_, err := tx.Send([]uint64{0, 1, 2})
		require.NoError(t, err)
		if farewell {
			require.NoError(t, tx.Close())
		}
		rx.HangUp(errors.New("lifeline"))
		err = receiveAll(t, 3, rx.Receive)
		if farewell {
			require.Equal(t, io.EOF, err)
		} else {
			require.ErrorContains(t, err, "lifeline")
		}
	}
	tx, rx := pair[uint64](t, 10, sharedring.WithSocketDoorbells())
	rx.HangUp(nil)
	tx.HangUp(nil)
	_, err := rx.Receive(make([]uint64, 1))
	require.Equal(t, io.EOF, err)
	_, err = rx.Arm()
	require.NoError(t, err, "the end of its own making is no news")
	_, err = rx.Receive(make([]uint64, 1))
	require.Equal(t, io.EOF, err)
}

// An event loop that reads its connections takes bells away, and says so.
func TestSocketsReadByOthers(t *testing.T) {
	for _, clean := range []bool{true, false} {
		tx, rx, sender, _ := openPair[uint64](t, 10, sharedring.WithHold(0))
		read := func() {
			b := make([]byte, 100)
			n, _, err := unix.Recvfrom(rx.FD(), b, unix.MSG_DONTWAIT)
			require.NoError(t, err)
			rx.Heard(n)
		}
		for i := range uint64(3) {
			_, err := tx.Send([]uint64{i})
			require.NoError(t, err)
			if i == 1 {
				read()
			}
			n, err := rx.Receive(make([]uint64, 1))
			require.NoError(t, err)
			require.Equal(t, 1, n)
			armed(t, false, rx.Arm)
		}
		if clean {
			require.NoError(t, tx.Close())
			read()
		} else {
			require.NoError(t, unix.Shutdown(sender.EmptySignal, unix.SHUT_WR))
		}
		armed(t, true, rx.Arm)
		_, err := rx.Receive(make([]uint64, 1))
		if clean {
			require.Equal(t, io.EOF, err)
		} else {
			require.ErrorIs(t, err, sharedring.ErrPeerGone)
		}
	}
}

func TestSocketsHandleMovesOut(t *testing.T) {
	before := proctest.Take()
	tx, err := sharedring.NewSender[uint64](10, sharedring.WithSocketDoorbells())
	require.NoError(t, err)
	h, err := tx.Handle()
	require.NoError(t, err)
	require.Equal(t, before.FDs+5, proctest.Take().FDs, "two sockets here, two there and the memory")
	_, err = tx.Handle()
	require.ErrorIs(t, err, sharedring.ErrHandleTaken)
	rx, err := sharedring.OpenReceiver[uint64](h)
	require.NoError(t, err)
	_, err = rx.Handle()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.Equal(t, before.FDs+4, proctest.Take().FDs)
	require.NoError(t, tx.Close())
	_, err = tx.Handle()
	require.ErrorIs(t, err, sharedring.ErrClosed)
	require.NoError(t, rx.Close())
	require.Equal(t, before.FDs, proctest.Take().FDs)

	rx, err = sharedring.NewReceiver[uint64](10, sharedring.WithSocketDoorbells()) // never asked for
	require.NoError(t, err)
	require.NoError(t, rx.Close())
	rx, err = sharedring.NewReceiver[uint64](10, sharedring.WithSocketDoorbells()) // asked for and given up
	require.NoError(t, err)
	h, err = rx.Handle()
	require.NoError(t, err)
	require.NoError(t, h.Close())
	_, err = rx.ReceiveContext(t.Context(), make([]uint64, 1))
	require.ErrorIs(t, err, sharedring.ErrPeerGone)
	require.NoError(t, rx.Close())
	require.Equal(t, before.FDs, proctest.Take().FDs)
}

func TestCreatePair(t *testing.T) {
	_, err := sharedring.Create(10, 8, sharedring.WithSocketDoorbells())
	require.ErrorIs(t, err, errors.ErrUnsupported)
	before := proctest.Take()
	for _, opts := range [][]sharedring.Option{nil, {sharedring.WithSocketDoorbells()}} {
		_, _, err := sharedring.CreatePair(0, 8, opts...)
		require.Error(t, err)
		sender, receiver, err := sharedring.CreatePair(10, 8, opts...)
		require.NoError(t, err)
		require.Equal(t, before.FDs+6, proctest.Take().FDs)
		copied, err := receiver.Dup()
		require.NoError(t, err)
		require.NoError(t, receiver.Close())
		tx, err := sharedring.OpenSender[uint64](sender)
		require.NoError(t, err)
		rx, err := sharedring.OpenReceiver[uint64](copied)
		require.NoError(t, err)
		exchange(t, tx, rx, 100)
		require.NoError(t, tx.Close())
		require.NoError(t, rx.Close())
		require.Equal(t, before.FDs, proctest.Take().FDs)
	}
}

// An end that could not be opened was never there to say farewell.
func TestSocketsOfAFailedOpen(t *testing.T) {
	sender, receiver, err := sharedring.CreatePair(10, 8, sharedring.WithSocketDoorbells())
	require.NoError(t, err)
	again, err := sender.Dup()
	require.NoError(t, err)
	tx, err := sharedring.OpenSender[uint64](sender)
	require.NoError(t, err)
	defer tx.Close()
	_, err = tx.Send([]uint64{0})
	require.NoError(t, err)
	_, err = sharedring.OpenSender[uint64](again) // a second one
	require.Error(t, err)
	rx, err := sharedring.OpenReceiver[uint64](receiver)
	require.NoError(t, err)
	defer rx.Close()
	require.ErrorIs(t, receiveAll(t, 1, ways(t, rx)["blocking"]), sharedring.ErrPeerGone)
}

func TestSocketsCloseRacesWithCalls(t *testing.T) {
	for range 100 {
		tx, rx := pair[uint64](t, 1, sharedring.WithSocketDoorbells(), sharedring.WithHold(0))
		done := make(chan error, 3)
		go func() {
			var err error
			for i := uint64(0); err == nil; i++ {
				_, err = tx.SendContext(context.Background(), []uint64{i, i, i})
			}
			done <- err
		}()
		started := make(chan struct{})
		go func() {
			var err error
			for n := 0; err == nil; n++ {
				_, err = rx.ReceiveContext(context.Background(), make([]uint64, 2))
				if n == 3 {
					close(started)
				}
			}
			done <- err
		}()
		go func() {
			var err error
			for err == nil {
				err = rx.Signal()
			}
			done <- err
		}()
		<-started
		closed := make(chan error)
		go func() { closed <- rx.Close() }()
		rx.HangUp(errors.New("x"))
		require.NoError(t, tx.Close())
		require.NoError(t, <-closed)
		for range 3 {
			err := <-done
			if err != io.EOF && !errors.Is(err, sharedring.ErrPeerGone) {
				require.ErrorIs(t, err, sharedring.ErrClosed)
			}
		}
	}
}

func TestSocketsNoAllocations(t *testing.T) {
	tx, rx := pair[uint64](t, 100, sharedring.WithSocketDoorbells(), sharedring.WithHold(0))
	buf := make([]uint64, 16)
	require.Zero(t, testing.AllocsPerRun(200, func() {
		_, _ = tx.Send(buf)
		_, _ = rx.Receive(buf)
		_, _ = rx.Arm()
		_, _ = tx.Arm()
	}))
	require.NotZero(t, tx.Doorbells())
}

// noAIORole uses socket doorbells of a peer that it does not trust where there is no
// AIO to be had.
func noAIORole([]string) int {
	err := proctest.InjectErrno(
		proctest.Fault{Syscall: unix.SYS_IO_SETUP, Errno: unix.ENOSYS, Arg: -1},
		proctest.Fault{Syscall: unix.SYS_IO_SUBMIT, Errno: unix.ENOSYS, Arg: -1})
	if err != nil {
		return fail(err)
	}
	if _, err := sharedring.NewSender[uint64](100); !errors.Is(err, unix.ENOSYS) {
		return fail(errors.New("an eventfd needs AIO"))
	}
	tx, err := sharedring.NewSender[uint64](100, sharedring.WithSocketDoorbells(), sharedring.WithHold(0))
	if err != nil {
		return fail(err)
	}
	h, err := tx.Handle()
	if err != nil {
		return fail(err)
	}
	rx, err := sharedring.OpenReceiver[uint64](h)
	if err != nil {
		return fail(err)
	}
	done := make(chan error)
	go func() { done <- expect(rx, 1000) }()
	for i := range uint64(1000) {
		if _, err := tx.SendContext(context.Background(), []uint64{i}); err != nil {
			return fail(err)
		}
	}
	if err := errors.Join(<-done, tx.Close(), rx.Close()); err != nil {
		return fail(err)
	}
	return 0
}

func TestSocketsNeedNoAIO(t *testing.T) {
	require.NoError(t, proctest.Start(t, "noaio", nil).Wait())
}

// The stream that waits in the process is the peer's own: a peer's blocking reads work.
func TestSocketsFlagsAreTheirOwn(t *testing.T) {
	rx, err := sharedring.NewReceiver[uint64](10, sharedring.WithSocketDoorbells())
	require.NoError(t, err)
	defer rx.Close()
	h, err := rx.Handle()
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close()) }()
	for _, fd := range []int{h.EmptySignal, h.FullSignal} {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		require.NoError(t, err)
		require.Zero(t, flags&unix.O_NONBLOCK)
		inherit, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		require.NoError(t, err)
		require.NotZero(t, inherit&unix.FD_CLOEXEC)
	}
	// An unmodified peer rings with 8 bytes.
	f := os.NewFile(uintptr(h.EmptySignal), "")
	data := watch(t, rx.FD())
	_, err = f.Write([]byte{1, 0, 0, 0, 0, 0, 0, 0})
	require.NoError(t, err)
	require.True(t, edge(t, data))
	require.NoError(t, f.Close())
	h.EmptySignal = -1
	_, err = rx.ReceiveContext(t.Context(), make([]uint64, 1))
	require.ErrorIs(t, err, sharedring.ErrPeerGone)
}

// A peer that hung up may still be taking what is in the ring.
func TestSocketsOfAPeerThatHungUp(t *testing.T) {
	tx, rx := pair[uint64](t, 10, sharedring.WithSocketDoorbells(), sharedring.WithHold(0))
	rx.HangUp(errors.New("lifeline"))
	_, err := tx.Send([]uint64{0, 1, 2})
	require.NoError(t, err)
	_, err = tx.Send([]uint64{3})
	require.ErrorIs(t, err, sharedring.ErrPeerGone)
	require.NoError(t, tx.Close())
	require.ErrorContains(t, receiveAll(t, 3, rx.Receive), "lifeline")
}
