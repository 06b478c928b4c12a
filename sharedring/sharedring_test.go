//go:build linux

package sharedring_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Role{
		"produce":     produceRole,
		"consume":     consumeRole,
		"attack":      attackRole,
		"errno":       errnoRole,
		"send":        sendRole,
		"receive":     receiveRole,
		"noaio":       noAIORole,
		"maker":       makerRole,
		"socketerrno": socketErrnoRole,
	})
}

// pair returns both ends of a ring in this process, closed with the test.
func pair[T any](t testing.TB, capacity int, opts ...sharedring.Option) (*sharedring.Sender[T], *sharedring.Receiver[T]) {
	t.Helper()
	tx, err := sharedring.NewSender[T](capacity, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tx.Close()) })
	h, err := tx.Handle()
	require.NoError(t, err)
	rx, err := sharedring.OpenReceiver[T](h, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, rx.Close()) })
	return tx, rx
}

// share returns h's descriptors as files for a child process, and closes h. The
// child finds them with inherited.
func share(t testing.TB, h sharedring.Handle) []*os.File {
	t.Helper()
	files := []*os.File{
		os.NewFile(uintptr(h.Memory), "memory"),
		os.NewFile(uintptr(h.EmptySignal), "empty"),
		os.NewFile(uintptr(h.FullSignal), "full"),
	}
	t.Cleanup(func() {
		for _, f := range files {
			f.Close()
		}
	})
	return files
}

func inherited(capacity int) sharedring.Handle {
	return sharedring.Handle{Capacity: capacity, Memory: 3, EmptySignal: 4, FullSignal: 5}
}

// produceRole sends the numbers 0 to n-1: args are capacity and n.
func produceRole(args []string) int {
	capacity, n := atoi(args[0]), atoi(args[1])
	tx, err := sharedring.OpenSender[uint64](inherited(capacity))
	if err != nil {
		return fail(err)
	}
	for i := range n {
		if _, err := tx.SendContext(context.Background(), []uint64{uint64(i)}); err != nil {
			return fail(err)
		}
	}
	return 0
}

// consumeRole checks that it receives the numbers 0 to n-1.
func consumeRole(args []string) int {
	capacity, n := atoi(args[0]), atoi(args[1])
	rx, err := sharedring.OpenReceiver[uint64](inherited(capacity))
	if err != nil {
		return fail(err)
	}
	if err := expect(rx, n); err != nil {
		return fail(err)
	}
	return 0
}

func expect(rx *sharedring.Receiver[uint64], n int) error {
	buf := make([]uint64, 100)
	for next := 0; next < n; {
		got, err := rx.ReceiveContext(context.Background(), buf)
		if err != nil {
			return err
		}
		for _, v := range buf[:got] {
			if v != uint64(next) {
				return errors.New("received " + strconv.FormatUint(v, 10) + " as number " + strconv.Itoa(next))
			}
			next++
		}
	}
	return nil
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err) // an argument that the test itself wrote
	}
	return n
}

func fail(err error) int {
	os.Stderr.WriteString(err.Error() + "\n")
	return 1
}

func TestAcrossProcesses(t *testing.T) {
	const items = 100_000
	for _, capacity := range []int{1, 1000} {
		tx, err := sharedring.NewSender[uint64](capacity)
		require.NoError(t, err)
		h, err := tx.Handle()
		require.NoError(t, err)
		child := proctest.Start(t, "consume", share(t, h), strconv.Itoa(capacity), strconv.Itoa(items))
		src := make([]uint64, 7)
		for next := 0; next < items; {
			batch := src[:min(len(src), items-next)]
			for i := range batch {
				batch[i] = uint64(next + i)
			}
			n, err := tx.SendContext(context.Background(), batch)
			require.NoError(t, err)
			next += n
		}
		require.NoError(t, child.Wait())
		require.NoError(t, tx.Close())

		rx, err := sharedring.NewReceiver[uint64](capacity)
		require.NoError(t, err)
		h, err = rx.Handle()
		require.NoError(t, err)
		child = proctest.Start(t, "produce", share(t, h), strconv.Itoa(capacity), strconv.Itoa(items))
		require.NoError(t, expect(rx, items))
		require.NoError(t, child.Wait())
		require.NoError(t, rx.Close())
	}
}

func TestLengthIsDerivedFromWholePages(t *testing.T) {
	tx, rx := pair[[24]byte](t, 1)
	require.Equal(t, (4096-64)/24, tx.Len())
	require.Equal(t, tx.Len(), rx.Len())
	tx2, _ := pair[uint64](t, 504)
	require.Equal(t, 504, tx2.Len(), "64+504*8 is one page")
	tx3, _ := pair[uint64](t, 505)
	require.Equal(t, (8192-64)/8, tx3.Len())
}

// After Arm the other side's next act is an edge; before it there is none.
func TestArmedEndsAreTold(t *testing.T) {
	tx, rx := pair[uint64](t, 1)
	room, data := watch(t, tx.FD()), watch(t, rx.FD())
	buf := make([]uint64, 1000)
	n, err := tx.Send(buf)
	require.NoError(t, err)
	require.Equal(t, tx.Len()-1, n, "all but the spare slot")
	require.True(t, edge(t, data), "from empty")
	armed(t, true, tx.Arm)
	n, err = tx.Send(buf)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	armed(t, false, tx.Arm)
	armed(t, false, tx.Pending)

	n, err = rx.Receive(buf)
	require.NoError(t, err)
	require.Equal(t, rx.Len(), n)
	require.True(t, edge(t, room), "from full")
	armed(t, true, tx.Pending)

	n, err = rx.Receive(buf)
	require.NoError(t, err)
	require.Zero(t, n)
	armed(t, false, rx.Pending)
	_, err = tx.Send(buf[:1])
	require.NoError(t, err)
	require.False(t, edge(t, data), "an awake receiver needs no bell")
	_, err = rx.Receive(buf)
	require.NoError(t, err)
	armed(t, false, rx.Arm)
	_, err = tx.Send(buf[:1])
	require.NoError(t, err)
	require.True(t, edge(t, data), "an armed one does")
	_, err = tx.Send(buf[:1])
	require.NoError(t, err)
	require.False(t, edge(t, data), "there is work already")
	armed(t, true, rx.Arm)
	require.EqualValues(t, 2, tx.Doorbells())
	require.EqualValues(t, 1, rx.Doorbells())
}

// armed calls Arm or Pending.
func armed(t *testing.T, want bool, call func() (bool, error)) {
	t.Helper()
	pending, err := call()
	require.NoError(t, err)
	require.Equal(t, want, pending)
}

// watch returns an epoll that reports edges of fd.
func watch(t testing.TB, fd int) int {
	t.Helper()
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(ep) })
	require.NoError(t, unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}))
	return ep
}

func edge(t *testing.T, ep int) bool {
	t.Helper()
	n, err := unix.EpollWait(ep, make([]unix.EpollEvent, 1), 0)
	require.NoError(t, err)
	return n == 1
}

func TestZeroCopy(t *testing.T) {
	tx, rx := pair[uint64](t, 1)
	ctx := context.Background()
	for round := range uint64(1000) {
		span, err := tx.ReserveContext(ctx, 3)
		require.NoError(t, err)
		for i := range span {
			span[i] = round
		}
		require.NoError(t, tx.Commit(len(span)))
		for left := len(span); left > 0; {
			view, err := rx.PeekContext(ctx)
			require.NoError(t, err)
			for _, v := range view {
				require.Equal(t, round, v)
			}
			require.NoError(t, rx.Discard(len(view)))
			left -= len(view)
		}
	}
}

func TestContextEndsAWait(t *testing.T) {
	tx, rx := pair[uint64](t, 1)
	buf := make([]uint64, 1000)
	for range 3 { // the second time the context differs, the deadline of the first must not count
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() {
			_, err := rx.ReceiveContext(ctx, buf)
			done <- err
		}()
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)

		ctx, cancel = context.WithCancel(context.Background())
		_, err := tx.Send(buf)
		require.NoError(t, err)
		go func() {
			_, err := tx.SendContext(ctx, buf) // more than fits
			done <- err
		}()
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		n, err := rx.Receive(buf)
		require.NoError(t, err)
		require.Positive(t, n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 1)
	defer cancel()
	_, err := rx.ReceiveContext(ctx, buf)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	// The same ends still work with a context that goes on.
	live := t.Context()
	done := make(chan error)
	go func() { done <- expect(rx, 2000) }()
	for i := range uint64(2000) {
		_, err := tx.SendContext(live, []uint64{i})
		require.NoError(t, err)
	}
	require.NoError(t, <-done)
}

func TestHangUpDrainsFirst(t *testing.T) {
	crash := errors.New("killed")
	for _, reason := range []error{nil, crash} {
		tx, rx := pair[uint64](t, 10)
		_, err := tx.Send([]uint64{1, 2, 3})
		require.NoError(t, err)
		rx.HangUp(reason)
		rx.HangUp(errors.New("only the first call counts"))
		pending, err := rx.Arm()
		require.NoError(t, err)
		require.True(t, pending)
		buf := make([]uint64, 2)
		for _, want := range []int{2, 1} {
			n, err := rx.ReceiveContext(context.Background(), buf)
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
		pending, err = rx.Pending()
		require.NoError(t, err)
		require.True(t, pending, "there is an end to be told of")
		for _, receive := range []func() error{
			func() error { _, err := rx.Receive(buf); return err },
			func() error { _, err := rx.Peek(); return err },
			func() error { _, err := rx.ReceiveContext(context.Background(), buf); return err },
			func() error { _, err := rx.PeekContext(context.Background()); return err },
			func() error { _, err := rx.ReceiveEach(1, func(uint64) {}); return err },
		} {
			if err := receive(); reason == nil {
				require.Equal(t, io.EOF, err)
			} else {
				require.ErrorIs(t, err, sharedring.ErrPeerGone)
				require.ErrorIs(t, err, crash)
			}
		}
		tx.HangUp(reason)
		_, err = tx.Send(buf)
		require.ErrorIs(t, err, sharedring.ErrPeerGone)
		_, err = tx.Arm()
		require.ErrorIs(t, err, sharedring.ErrPeerGone)
	}
}

// asleep waits until end has gone to sleep in a blocked call: only a call that
// sleeps opens the duplicate of its doorbell.
func asleep(t *testing.T, before proctest.Census) {
	t.Helper()
	for proctest.Take().FDs <= before.FDs {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHangUpAndCloseWakeASleeper(t *testing.T) {
	for name, test := range map[string]struct {
		act  func(tx *sharedring.Sender[uint64], rx *sharedring.Receiver[uint64])
		want error
	}{
		"HangUp": {func(tx *sharedring.Sender[uint64], rx *sharedring.Receiver[uint64]) {
			tx.HangUp(errors.New("x"))
			rx.HangUp(errors.New("x"))
		}, sharedring.ErrPeerGone},
		"Close": {func(tx *sharedring.Sender[uint64], rx *sharedring.Receiver[uint64]) {
			_ = tx.Close()
			_ = rx.Close()
		}, sharedring.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			tx, _ := pair[uint64](t, 10)
			_, rx := pair[uint64](t, 10)
			done := make(chan error, 2)
			before := proctest.Take()
			go func() {
				_, err := tx.SendContext(context.Background(), make([]uint64, 10000))
				done <- err
			}()
			asleep(t, before)
			before = proctest.Take()
			go func() {
				_, err := rx.ReceiveContext(context.Background(), make([]uint64, 1))
				done <- err
			}()
			asleep(t, before)
			test.act(tx, rx)
			require.ErrorIs(t, <-done, test.want)
			require.ErrorIs(t, <-done, test.want)
		})
	}
}

func TestCallsAfterClose(t *testing.T) {
	tx, rx := pair[uint64](t, 10)
	span, err := tx.Reserve(5)
	require.NoError(t, err)
	_, err = tx.Send([]uint64{1, 2, 3})
	require.NoError(t, err)
	view, err := rx.Peek()
	require.NoError(t, err)
	require.Equal(t, []uint64{1, 2, 3}, view)
	for range 2 {
		require.NoError(t, tx.Close())
		require.NoError(t, rx.Close())
	}
	require.Equal(t, []uint64{0, 0, 0}, view, "a slice still in use shows zeros")
	span[0] = 9 // and takes writes that reach nobody
	ctx, buf := context.Background(), make([]uint64, 1)
	for name, call := range map[string]func() error{
		"send":            func() error { _, err := tx.Send(buf); return err },
		"send context":    func() error { _, err := tx.SendContext(ctx, buf); return err },
		"send each":       func() error { _, err := tx.SendEach(1, func() uint64 { return 1 }); return err },
		"reserve":         func() error { _, err := tx.Reserve(1); return err },
		"reserve context": func() error { _, err := tx.ReserveContext(ctx, 1); return err },
		"commit":          func() error { return tx.Commit(1) },
		"free":            func() error { _, err := tx.Free(); return err },
		"sender pending":  func() error { _, err := tx.Pending(); return err },
		"sender arm":      func() error { _, err := tx.Arm(); return err },
		"sender handle":   func() error { _, err := tx.Handle(); return err },
		"sender signal":   tx.Signal,
		"receive":         func() error { _, err := rx.Receive(buf); return err },
		"receive context": func() error { _, err := rx.ReceiveContext(ctx, buf); return err },
		"receive each":    func() error { _, err := rx.ReceiveEach(1, func(uint64) {}); return err },
		"peek":            func() error { _, err := rx.Peek(); return err },
		"peek context":    func() error { _, err := rx.PeekContext(ctx); return err },
		"discard":         func() error { return rx.Discard(1) },
		"available":       func() error { _, err := rx.Available(); return err },
		"pending":         func() error { _, err := rx.Pending(); return err },
		"arm":             func() error { _, err := rx.Arm(); return err },
		"signal":          rx.Signal,
	} {
		require.ErrorIs(t, call(), sharedring.ErrClosed, name)
	}
}

// Once closed, the descriptors' numbers belong to others.
func TestClosedEndTouchesNoDescriptor(t *testing.T) {
	tx, rx := pair[uint64](t, 10)
	fds := []int{tx.FD(), rx.FD()}
	require.NoError(t, tx.Close())
	require.NoError(t, rx.Close())
	var r, w *os.File
	for { // until others have the numbers
		var err error
		r, w, err = os.Pipe()
		require.NoError(t, err)
		defer r.Close()
		defer w.Close()
		if int(r.Fd()) > max(fds[0], fds[1])+8 {
			break
		}
	}
	before := proctest.Take()
	for range 3 {
		tx.HangUp(nil)
		rx.HangUp(nil)
		require.ErrorIs(t, tx.Signal(), sharedring.ErrClosed)
		require.ErrorIs(t, rx.Signal(), sharedring.ErrClosed)
		require.NoError(t, tx.Close())
	}
	require.Equal(t, before.FDs, proctest.Take().FDs)
}

// A partial Reserve is a call that came up short.
// However much is there and asked for, all of it comes in order: in pieces, in long runs,
// and across the end of the memory.
func TestReceiveOfAnyLength(t *testing.T) {
	const capacity = 5 << 17 // of 8 bytes: several long runs
	tx, rx := pair[uint64](t, capacity)
	src, dst := make([]uint64, capacity), make([]uint64, capacity)
	next, want := uint64(0), uint64(0)
	for i, lengths := range [][2]int{{1, 1}, {3 << 17, 4 << 17}, {4<<17 + 5, 3<<17 + 1}, {1 << 17, 5 << 17}, {capacity, capacity}, {0, capacity}} {
		for j := range src {
			src[j] = next + uint64(j)
		}
		sent, err := tx.Send(src[:lengths[0]])
		require.NoError(t, err)
		next += uint64(sent)
		got, err := rx.Receive(dst[:lengths[1]])
		require.NoError(t, err)
		for j, v := range dst[:got] {
			if v != want+uint64(j) {
				require.Failf(t, "wrong item", "step %d, item %d: %d in place of %d", i, j, v, want+uint64(j))
			}
		}
		want += uint64(got)
	}
	n, err := rx.Receive(dst)
	require.NoError(t, err)
	require.Equal(t, next, want+uint64(n))
	require.Greater(t, next, uint64(2*capacity))
}

func TestPartialReserveIsShort(t *testing.T) {
	tx, rx := pair[uint64](t, 1)
	span, err := tx.Reserve(10 * tx.Len())
	require.NoError(t, err)
	require.NoError(t, tx.Commit(len(span)))
	armed(t, true, tx.Arm) // the spare slot
	span, err = tx.Reserve(1)
	require.NoError(t, err)
	require.NoError(t, tx.Commit(len(span)))
	_, err = tx.Reserve(1)
	require.NoError(t, err)
	armed(t, false, tx.Arm)
	room := watch(t, tx.FD())
	_, err = rx.Receive(make([]uint64, rx.Len()))
	require.NoError(t, err)
	require.True(t, edge(t, room))
	armed(t, true, tx.Pending)
}

// Arm releases what is held, also when items are left: a receiver that pauses calls
// it.
func TestArmReleases(t *testing.T) {
	tx, rx := pair[uint64](t, 1)
	_, err := tx.Send(make([]uint64, tx.Len()))
	require.NoError(t, err)
	_, err = rx.Receive(make([]uint64, 100))
	require.NoError(t, err)
	armed(t, true, rx.Arm)
	free, err := tx.Free()
	require.NoError(t, err)
	require.Equal(t, 100, free, "the spare slot is one of the 101 that are free")
}

// A context of a type that cannot be compared.
type mapContext struct {
	context.Context
	values map[string]int
}

func TestUncomparableContext(t *testing.T) {
	_, rx := pair[uint64](t, 10)
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 1)
		_, err := rx.ReceiveContext(mapContext{ctx, map[string]int{}}, make([]uint64, 1))
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
}

func TestItemSizeOfTheOtherSide(t *testing.T) {
	h, err := sharedring.Create(10, 8)
	require.NoError(t, err)
	_, err = sharedring.OpenReceiver[uint32](h)
	require.ErrorIs(t, err, ringbuf.ErrItemType)
	h, err = sharedring.Create(10, 8)
	require.NoError(t, err)
	h.ItemSize = 0 // a peer that does not say
	rx, err := sharedring.OpenReceiver[uint32](h)
	require.NoError(t, err)
	require.NoError(t, rx.Close())
}

func TestZeroHandle(t *testing.T) {
	require.NoError(t, sharedring.Handle{}.Close())
	_, err := sharedring.OpenReceiver[uint64](sharedring.Handle{})
	require.ErrorIs(t, err, ringbuf.ErrRange)
	require.True(t, isOpen(0), "standard input")
}

// Close beside calls in progress, in every phase: no fault, no wrong item, one of
// the documented errors.
func TestCloseRacesWithCalls(t *testing.T) {
	for range 200 {
		tx, rx := pair[uint64](t, 1)
		done := make(chan error, 2)
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
			var view []uint64
			for n := 0; err == nil; n++ {
				if view, err = rx.PeekContext(context.Background()); err == nil {
					err = rx.Discard(len(view))
				}
				if n == 3 {
					close(started)
				}
			}
			done <- err
		}()
		<-started
		closed := make(chan error)
		go func() { closed <- rx.Close() }()
		require.NoError(t, tx.Close())
		require.NoError(t, <-closed)
		require.ErrorIs(t, <-done, sharedring.ErrClosed)
		require.ErrorIs(t, <-done, sharedring.ErrClosed)
	}
}

func TestPanickingCallbackStillRings(t *testing.T) {
	tx, rx := pair[uint64](t, 10)
	require.Panics(t, func() {
		_, _ = tx.SendEach(3, func() uint64 {
			n, err := tx.Raw().Free()
			if err != nil || n < tx.Len()-1 {
				panic("stop")
			}
			panic("first")
		})
	})
	require.Zero(t, tx.Doorbells(), "nothing was sent")
	calls := 0
	require.Panics(t, func() {
		_, _ = tx.SendEach(3, func() uint64 {
			if calls++; calls == 3 {
				panic("third")
			}
			return uint64(calls)
		})
	})
	require.EqualValues(t, 1, tx.Doorbells())
	got := make([]uint64, 5)
	n, err := rx.Receive(got)
	require.NoError(t, err)
	require.Equal(t, []uint64{1, 2}, got[:n])
}

func TestHandleBelongsToTheMaker(t *testing.T) {
	tx, rx := pair[uint64](t, 10)
	h, err := tx.Handle()
	require.NoError(t, err)
	require.NoError(t, h.Close())
	_, err = rx.Handle()
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func TestRawSignalsBelongToTheUser(t *testing.T) {
	tx, rx := pair[uint64](t, 10)
	data := watch(t, rx.FD())
	_, signal, err := tx.Raw().Send([]uint64{1})
	require.NoError(t, err)
	require.True(t, signal)
	require.False(t, edge(t, data))
	require.NoError(t, tx.Signal())
	require.True(t, edge(t, data))
}

func TestOptions(t *testing.T) {
	tx, rx := pair[uint64](t, 1, sharedring.WithHold(0), sharedring.TrustPeer(), sharedring.WithMlock(), sharedring.WithoutPrefault())
	for i := range uint64(5) {
		_, err := tx.Send([]uint64{i})
		require.NoError(t, err)
		_, err = rx.Receive(make([]uint64, 1))
		require.NoError(t, err)
	}
	require.EqualValues(t, 5, tx.Doorbells(), "one for every change from empty")
	tx, rx = pair[uint64](t, 1)
	for i := range uint64(5) {
		_, err := tx.Send([]uint64{i})
		require.NoError(t, err)
		_, err = rx.Receive(make([]uint64, 1))
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, tx.Doorbells(), "the held tail spares the others")
}

func TestItemTypeIsCheckedFirst(t *testing.T) {
	before := proctest.Take()
	_, err := sharedring.NewSender[bool](10)
	require.ErrorIs(t, err, ringbuf.ErrItemType)
	_, err = sharedring.NewReceiver[string](10)
	require.ErrorIs(t, err, ringbuf.ErrItemType)
	h, err := sharedring.Create(10, 8)
	require.NoError(t, err)
	_, err = sharedring.OpenReceiver[*int](h)
	require.ErrorIs(t, err, ringbuf.ErrItemType)
	require.Equal(t, before.FDs, proctest.Take().FDs)
}

func TestNoAllocations(t *testing.T) {
	tx, rx := pair[uint64](t, 100)
	buf := make([]uint64, 16)
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(200, func() {
		_, _ = tx.Send(buf)
		_, _ = rx.Receive(buf)
		_, _ = tx.SendContext(ctx, buf)
		_, _ = rx.ReceiveContext(ctx, buf)
		span, _ := tx.Reserve(3)
		_ = tx.Commit(len(span))
		view, _ := rx.Peek()
		_ = rx.Discard(len(view))
		_, _ = rx.Arm()
	}))
}
