package ringbuf_test

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring/ringbuf"
)

func TestMain(m *testing.M) { proctest.Main(m, nil) }

// memory returns aligned heap memory for a ring of exactly length items, where the
// race detector sees every access.
func memory(length, itemSize int) []byte {
	n := ringbuf.HeaderSize + length*itemSize
	words := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), n)
}

func setCount(mem []byte, count uint64) { binary.NativeEndian.PutUint64(mem, count) }
func count(mem []byte) uint64           { return binary.NativeEndian.Uint64(mem) }

// newRing returns both ends of a ring of length items. hold = 0 turns the receiver's
// held tail and the sender's spare slot off.
func newRing[T any](t testing.TB, length, hold int) (*ringbuf.Sender[T], *ringbuf.Receiver[T], []byte) {
	t.Helper()
	var zero T
	mem := memory(length, int(unsafe.Sizeof(zero)))
	tx, err := ringbuf.NewSender[T](mem)
	require.NoError(t, err)
	rx, err := ringbuf.NewReceiver[T](mem)
	require.NoError(t, err)
	require.Equal(t, length, tx.Len())
	require.Equal(t, length, rx.Len())
	tx.SetSpare(hold > 0)
	rx.SetHold(hold)
	return tx, rx, mem
}

func TestLayout(t *testing.T) {
	tx, rx, mem := newRing[uint16](t, 3, 0)
	n, signal, err := tx.Send([]uint16{0x0102, 0x0304})
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.True(t, signal, "the ring was empty")
	want := make([]byte, 64, len(mem))
	want[0] = 2
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		want[0], want[7] = 0, 2
	}
	want = binary.NativeEndian.AppendUint16(want, 0x0102)
	want = binary.NativeEndian.AppendUint16(want, 0x0304)
	want = binary.NativeEndian.AppendUint16(want, 0)
	require.Equal(t, want, mem)

	got := make([]uint16, 1)
	n, signal, err = rx.Receive(got)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.False(t, signal, "the ring was not full")
	require.EqualValues(t, 1, count(mem))
}

func TestSignalsWithoutHabits(t *testing.T) {
	tx, rx, _ := newRing[int](t, 2, 0)
	buf := make([]int, 2)
	for _, step := range []struct {
		send, receive, n int
		signal           bool
	}{
		{send: 1, n: 1, signal: true}, // from empty
		{send: 2, n: 1},               // one fits
		{send: 1, n: 0},               // full
		{receive: 1, n: 1, signal: true},
		{receive: 2, n: 1},
		{receive: 1, n: 0},
		{send: 2, n: 2, signal: true},
		{receive: 2, n: 2, signal: true},
	} {
		var n int
		var signal bool
		var err error
		if step.send > 0 {
			n, signal, err = tx.Send(buf[:step.send])
		} else {
			n, signal, err = rx.Receive(buf[:step.receive])
		}
		require.NoError(t, err)
		require.Equal(t, step.n, n, "%+v", step)
		require.Equal(t, step.signal, signal, "%+v", step)
	}
}

// While both sides are awake no signal is due, whatever the ring's length; once a
// side arms, the next act of the other signals.
func TestHabitsSpareSignals(t *testing.T) {
	for _, length := range []int{3, 4, 5, 64} {
		tx, rx, mem := newRing[int](t, length, 1)
		_, signal, err := tx.Send([]int{0})
		require.NoError(t, err)
		require.True(t, signal, "the receiver has not looked yet")
		buf := make([]int, length)
		for i := range 10 * length {
			n, signal, err := rx.Receive(buf)
			require.NoError(t, err)
			require.NotZero(t, n, "length %d round %d", length, i)
			require.False(t, signal)
			_, signal, err = tx.Send(buf)
			require.NoError(t, err)
			require.False(t, signal, "length %d round %d", length, i)
		}
		drain(t, rx)
		pending, signal, err := rx.Arm()
		require.NoError(t, err)
		require.False(t, pending)
		require.False(t, signal)
		require.Zero(t, count(mem))
		_, signal, err = tx.Send([]int{1})
		require.NoError(t, err)
		require.True(t, signal, "an armed receiver is told")

		fill(t, tx)
		pending, err = tx.Arm()
		require.NoError(t, err)
		require.True(t, pending, "the spare slot is given up")
		fill(t, tx)
		pending, err = tx.Arm()
		require.NoError(t, err)
		require.False(t, pending)
		require.EqualValues(t, length, count(mem))
		drain(t, rx)
		_, err = rx.Release()
		require.NoError(t, err)
		require.Zero(t, count(mem))
	}
}

// Neither side arms: items still pass, in every length.
func TestHabitsLeaveRoom(t *testing.T) {
	for length := 1; length <= 12; length++ {
		for hold := range length + 2 {
			tx, rx, _ := newRing[int](t, length, hold)
			for round := range 3 * length {
				n, _, err := tx.Send([]int{round})
				require.NoError(t, err)
				require.Equal(t, 1, n, "length %d hold %d round %d", length, hold, round)
				got := make([]int, 1)
				n, _, err = rx.Receive(got)
				require.NoError(t, err)
				require.Equal(t, 1, n)
				require.Equal(t, round, got[0])
			}
		}
	}
}

// An armed sender is told at the first release, not at the last.
func TestArmedSenderIsTold(t *testing.T) {
	tx, rx, _ := newRing[int](t, 8, 1)
	fill(t, tx)
	more, err := tx.Arm()
	require.NoError(t, err)
	require.True(t, more)
	fill(t, tx)
	more, err = tx.Arm()
	require.NoError(t, err)
	require.False(t, more)
	signals := 0
	for range 8 {
		_, signal, err := rx.Receive(make([]int, 1))
		require.NoError(t, err)
		if signal {
			signals++
		}
	}
	require.Equal(t, 1, signals)
}

func TestHoldIsBoundedByLength(t *testing.T) {
	for length := 1; length <= 9; length++ {
		tx, rx, mem := newRing[int](t, length, 1000)
		rx.SetHold(1000)
		for round := range 20 {
			tx.SetSpare(false)
			n, _, err := tx.Send(make([]int, length))
			require.NoError(t, err)
			require.NotZero(t, n, "length %d round %d: held items must not fill the ring", length, round)
			drain(t, rx)
			require.Less(t, count(mem), uint64(length))
		}
	}
}

func fill(t *testing.T, tx *ringbuf.Sender[int]) {
	t.Helper()
	for {
		n, _, err := tx.Send([]int{7})
		require.NoError(t, err)
		if n == 0 {
			return
		}
	}
}

func drain(t *testing.T, rx *ringbuf.Receiver[int]) {
	t.Helper()
	for {
		n, _, err := rx.Receive(make([]int, 3))
		require.NoError(t, err)
		if n == 0 {
			return
		}
	}
}

func TestReserveStopsAtTheWrap(t *testing.T) {
	tx, rx, _ := newRing[int](t, 5, 0)
	advance(t, tx, rx, 3)
	span, err := tx.Reserve(4)
	require.NoError(t, err)
	require.Len(t, span, 2)
	copy(span, []int{10, 11})
	_, err = tx.Commit(2)
	require.NoError(t, err)
	span, err = tx.Reserve(4)
	require.NoError(t, err)
	require.Len(t, span, 3)
	span[0] = 12
	_, err = tx.Commit(1)
	require.NoError(t, err)

	view, err := rx.Peek()
	require.NoError(t, err)
	require.Equal(t, []int{10, 11}, view)
	_, err = rx.Discard(1)
	require.NoError(t, err)
	_, err = rx.Discard(1)
	require.NoError(t, err)
	view, err = rx.Peek()
	require.NoError(t, err)
	require.Equal(t, []int{12}, view)
}

func advance(t *testing.T, tx *ringbuf.Sender[int], rx *ringbuf.Receiver[int], n int) {
	t.Helper()
	for range n {
		_, _, err := tx.Send([]int{0})
		require.NoError(t, err)
		_, _, err = rx.Receive(make([]int, 1))
		require.NoError(t, err)
	}
}

func TestCommitInParts(t *testing.T) {
	tx, rx, _ := newRing[int](t, 4, 0)
	span, err := tx.Reserve(3)
	require.NoError(t, err)
	copy(span, []int{1, 2, 3})
	for _, n := range []int{0, 2, 1} {
		_, err = tx.Commit(n)
		require.NoError(t, err)
	}
	got := make([]int, 4)
	n, _, err := rx.Receive(got)
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3}, got[:n])
}

func TestEach(t *testing.T) {
	tx, rx, _ := newRing[int](t, 4, 0)
	advance(t, tx, rx, 3)
	next := 0
	sent, signal, err := tx.SendEach(10, func() int { next++; return next })
	require.NoError(t, err)
	require.True(t, signal)
	require.Equal(t, 4, sent)
	require.Equal(t, 4, next, "called only for items that have a slot")
	var got []int
	received, signal, err := rx.ReceiveEach(3, func(v int) { got = append(got, v) })
	require.NoError(t, err)
	require.True(t, signal)
	require.Equal(t, 3, received)
	received, signal, err = rx.ReceiveEach(3, func(v int) { got = append(got, v) })
	require.NoError(t, err)
	require.False(t, signal)
	require.Equal(t, 1, received)
	require.Equal(t, []int{1, 2, 3, 4}, got)
}

// Two random walks against a plain queue: whatever mix of calls is made, the items
// come out in order, and the counts agree.
func TestRandomCalls(t *testing.T) {
	const seed = 42
	for length := 1; length <= 9; length++ {
		for hold := range 3 {
			rnd := rand.New(rand.NewPCG(seed, uint64(length*10+hold)))
			tx, rx, mem := newRing[int](t, length, hold)
			sent, received := 0, 0
			for range 1000 {
				if rnd.IntN(2) == 0 {
					sent += randomSend(t, rnd, tx, sent)
				} else {
					received += randomReceive(t, rnd, rx, received)
				}
				require.LessOrEqual(t, received, sent)
				require.LessOrEqual(t, int(count(mem)), length)
				require.GreaterOrEqual(t, int(count(mem)), sent-received)
			}
			require.Greater(t, received, 100)
		}
	}
}

func randomSend(t *testing.T, rnd *rand.Rand, tx *ringbuf.Sender[int], next int) int {
	switch rnd.IntN(4) {
	case 0:
		src := make([]int, rnd.IntN(tx.Len()+2))
		for i := range src {
			src[i] = next + i
		}
		n, _, err := tx.Send(src)
		require.NoError(t, err)
		return n
	case 1:
		span, err := tx.Reserve(rnd.IntN(tx.Len() + 2))
		require.NoError(t, err)
		n := rnd.IntN(len(span) + 1)
		for i := range n {
			span[i] = next + i
		}
		_, err = tx.Commit(n)
		require.NoError(t, err)
		return n
	case 2:
		n, _, err := tx.SendEach(rnd.IntN(tx.Len()+2), func() int { next++; return next - 1 })
		require.NoError(t, err)
		return n
	default:
		_, err := tx.Arm()
		require.NoError(t, err)
		return 0
	}
}

func randomReceive(t *testing.T, rnd *rand.Rand, rx *ringbuf.Receiver[int], next int) int {
	check := func(v int) {
		if v != next {
			t.Fatalf("item %d arrived as number %d", v, next)
		}
		next++
	}
	switch rnd.IntN(4) {
	case 0:
		dst := make([]int, rnd.IntN(rx.Len()+2))
		n, _, err := rx.Receive(dst)
		require.NoError(t, err)
		for _, v := range dst[:n] {
			check(v)
		}
		return n
	case 1:
		view, err := rx.Peek()
		require.NoError(t, err)
		n := rnd.IntN(len(view) + 1)
		for _, v := range view[:n] {
			check(v)
		}
		_, err = rx.Discard(n)
		require.NoError(t, err)
		return n
	case 2:
		n, _, err := rx.ReceiveEach(rnd.IntN(rx.Len()+2), check)
		require.NoError(t, err)
		return n
	default:
		_, _, err := rx.Arm()
		require.NoError(t, err)
		return 0
	}
}

// Two goroutines over heap memory, where the race detector sees every access. Each
// side that has nothing to do sleeps on a channel that only a signal fills, so a
// lost signal is a hang.
func TestTwoGoroutines(t *testing.T) {
	const items = 5000
	for _, length := range []int{1, 2, 3, 7, 64} {
		for hold := range 3 {
			tx, rx, _ := newRing[uint64](t, length, hold)
			empty, full := make(chan struct{}, 1), make(chan struct{}, 1)
			done := make(chan error, 1)
			go func() { done <- produce(tx, items, empty, full) }()
			consume(t, rx, items, empty, full)
			require.NoError(t, <-done)
		}
	}
}

func ring(bell chan struct{}, signal bool) {
	if signal {
		select {
		case bell <- struct{}{}:
		default:
		}
	}
}

func produce(tx *ringbuf.Sender[uint64], items int, empty, full chan struct{}) error {
	src := make([]uint64, 5)
	for sent := 0; sent < items; {
		batch := src[:min(1+sent%len(src), items-sent)]
		for i := range batch {
			batch[i] = uint64(sent + i)
		}
		n, signal, err := tx.Send(batch)
		if err != nil {
			return err
		}
		ring(empty, signal)
		sent += n
		if n == len(batch) {
			continue
		}
		pending, err := tx.Arm()
		if err != nil {
			return err
		}
		if !pending {
			<-full
		}
	}
	return nil
}

func consume(t *testing.T, rx *ringbuf.Receiver[uint64], items int, empty, full chan struct{}) {
	dst := make([]uint64, 4)
	for received := 0; received < items; {
		n, signal, err := rx.Receive(dst[:1+received%len(dst)])
		require.NoError(t, err)
		ring(full, signal)
		for _, v := range dst[:n] {
			if v != uint64(received) {
				t.Fatalf("item %d arrived as number %d", v, received)
			}
			received++
		}
		if n > 0 || received == items {
			continue
		}
		pending, signal, err := rx.Arm()
		require.NoError(t, err)
		ring(full, signal)
		if !pending {
			<-empty
		}
	}
}

func TestBytes(t *testing.T) {
	n, err := ringbuf.Bytes(1000, 24)
	require.NoError(t, err)
	require.Equal(t, 64+24000, n)
}

func TestFault24CapacityOverflow(t *testing.T) {
	for _, c := range [][2]int{{0, 8}, {-1, 8}, {8, 0}, {math.MinInt, 1}, {math.MaxInt, 1}, {math.MaxInt/8 + 1, 8}} {
		_, err := ringbuf.Bytes(c[0], c[1])
		require.ErrorIs(t, err, ringbuf.ErrRange, "%v", c)
	}
}

func TestFault15TooSmall(t *testing.T) {
	for _, n := range []int{0, 8, 63, 64, 71} {
		mem := memory(1, 8)[:n]
		_, err := ringbuf.NewSender[uint64](mem)
		require.ErrorIs(t, err, ringbuf.ErrTooSmall, "%d bytes", n)
		_, err = ringbuf.NewReceiver[uint64](mem)
		require.ErrorIs(t, err, ringbuf.ErrTooSmall, "%d bytes", n)
	}
}

func TestMisalignedMemory(t *testing.T) {
	mem := memory(10, 8)
	_, err := ringbuf.NewSender[uint64](mem[1:])
	require.ErrorIs(t, err, ringbuf.ErrRange)
}

func TestSenderNeedsAFreshRing(t *testing.T) {
	mem := memory(10, 8)
	setCount(mem, 1)
	_, err := ringbuf.NewSender[uint64](mem)
	require.ErrorIs(t, err, ringbuf.ErrCorrupt)
	rx, err := ringbuf.NewReceiver[uint64](mem)
	require.NoError(t, err, "items may wait for a receiver")
	n, err := rx.Available()
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func TestFault01CountAboveLength(t *testing.T) { testBadCount(t, 6) }
func TestFault02CountAllOnes(t *testing.T)     { testBadCount(t, math.MaxUint64) }

func testBadCount(t *testing.T, bad uint64) {
	mem := memory(5, 8)
	setCount(mem, bad)
	_, err := ringbuf.NewReceiver[uint64](mem)
	require.ErrorIs(t, err, ringbuf.ErrCorrupt, "before attaching")

	for name, call := range map[string]func(*ringbuf.Receiver[uint64]) error{
		"Receive":     func(rx *ringbuf.Receiver[uint64]) error { _, _, err := rx.Receive(make([]uint64, 5)); return err },
		"Peek":        func(rx *ringbuf.Receiver[uint64]) error { _, err := rx.Peek(); return err },
		"Pending":     func(rx *ringbuf.Receiver[uint64]) error { _, err := rx.Pending(); return err },
		"Available":   func(rx *ringbuf.Receiver[uint64]) error { _, err := rx.Available(); return err },
		"Arm":         func(rx *ringbuf.Receiver[uint64]) error { _, _, err := rx.Arm(); return err },
		"ReceiveEach": func(rx *ringbuf.Receiver[uint64]) error { _, _, err := rx.ReceiveEach(1, neverCalled(t)); return err },
	} {
		_, rx, mem := newRing[uint64](t, 5, 1)
		setCount(mem, bad)
		require.ErrorIs(t, call(rx), ringbuf.ErrCorrupt, name)
		setCount(mem, 0)
		require.ErrorIs(t, call(rx), ringbuf.ErrCorrupt, "%s: for good", name)
		require.Zero(t, count(mem), "%s: a poisoned ring is not touched again", name)
	}
	for name, call := range map[string]func(*ringbuf.Sender[uint64]) error{
		"Send":    func(tx *ringbuf.Sender[uint64]) error { _, _, err := tx.Send(make([]uint64, 5)); return err },
		"Reserve": func(tx *ringbuf.Sender[uint64]) error { _, err := tx.Reserve(5); return err },
		"Free":    func(tx *ringbuf.Sender[uint64]) error { _, err := tx.Free(); return err },
		"Arm":     func(tx *ringbuf.Sender[uint64]) error { _, err := tx.Arm(); return err },
	} {
		tx, _, mem := newRing[uint64](t, 5, 1)
		setCount(mem, bad)
		require.ErrorIs(t, call(tx), ringbuf.ErrCorrupt, name)
		setCount(mem, 0)
		require.ErrorIs(t, call(tx), ringbuf.ErrCorrupt, "%s: for good", name)
	}
}

func neverCalled(t *testing.T) func(uint64) {
	return func(uint64) { t.Error("called with an item of a corrupt ring") }
}

func TestFault03CountZeroedInReceive(t *testing.T) {
	tx, rx, mem := newRing[uint64](t, 5, 0)
	_, _, err := tx.Send(make([]uint64, 3))
	require.NoError(t, err)
	calls := 0
	_, _, err = rx.ReceiveEach(3, func(uint64) {
		calls++
		setCount(mem, 0)
	})
	require.ErrorIs(t, err, ringbuf.ErrCorrupt)
	require.Equal(t, 3, calls)
	_, _, err = rx.Receive(make([]uint64, 1))
	require.ErrorIs(t, err, ringbuf.ErrCorrupt)
}

func TestFault04CountFilledInSend(t *testing.T) {
	tx, _, mem := newRing[uint64](t, 5, 0)
	_, _, err := tx.SendEach(2, func() uint64 {
		setCount(mem, 5)
		return 1
	})
	require.ErrorIs(t, err, ringbuf.ErrCorrupt)
	_, _, err = tx.Send(make([]uint64, 1))
	require.ErrorIs(t, err, ringbuf.ErrCorrupt)
}

// Whatever the count is made to say, calls return, with nothing but the caller's
// own items or an error. Other rings are not concerned.
func TestFault05RandomCounts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	for range 4000 {
		length := 1 + rnd.IntN(8)
		tx, rx, mem := newRing[uint64](t, length, rnd.IntN(3))
		buf := make([]uint64, length+1)
		for range 8 {
			if rnd.IntN(3) == 0 {
				setCount(mem, []uint64{0, uint64(rnd.IntN(length + 2)), rnd.Uint64(), math.MaxUint64}[rnd.IntN(4)])
			}
			n, _, err := tx.Send(buf[:rnd.IntN(length+2)])
			require.True(t, n <= length && (err == nil || errors.Is(err, ringbuf.ErrCorrupt)), err)
			n, _, err = rx.Receive(buf[:rnd.IntN(length+2)])
			require.True(t, n <= length && (err == nil || errors.Is(err, ringbuf.ErrCorrupt)), err)
		}
	}
}

func TestFault06ClaimsTooMuch(t *testing.T) {
	tx, rx, mem := newRing[uint64](t, 5, 0)
	_, err := tx.Reserve(-1)
	require.ErrorIs(t, err, ringbuf.ErrRange)
	_, err = tx.Commit(1)
	require.ErrorIs(t, err, ringbuf.ErrRange, "nothing reserved")
	_, err = tx.Reserve(2)
	require.NoError(t, err)
	for _, n := range []int{-1, 3, math.MaxInt, math.MinInt} {
		_, err = tx.Commit(n)
		require.ErrorIs(t, err, ringbuf.ErrRange, "%d", n)
	}
	require.Zero(t, count(mem), "nothing moved")
	_, err = tx.Commit(2)
	require.NoError(t, err, "the reservation still stands")
	_, err = tx.Commit(1)
	require.ErrorIs(t, err, ringbuf.ErrRange, "used up")

	_, err = rx.Discard(1)
	require.ErrorIs(t, err, ringbuf.ErrRange, "nothing peeked")
	_, err = rx.Peek()
	require.NoError(t, err)
	for _, n := range []int{-1, 3, math.MaxInt, math.MinInt} {
		_, err = rx.Discard(n)
		require.ErrorIs(t, err, ringbuf.ErrRange, "%d", n)
	}
	require.EqualValues(t, 2, count(mem), "nothing moved")
	_, err = rx.Discard(2)
	require.NoError(t, err)
}

func TestFault07CallbackPanics(t *testing.T) {
	tx, rx, mem := newRing[int](t, 5, 0)
	made := 0
	require.Panics(t, func() {
		_, _, _ = tx.SendEach(4, func() int {
			if made == 2 {
				panic("third item")
			}
			made++
			return made
		})
	})
	require.EqualValues(t, 2, count(mem), "what was made is sent, nothing else")
	require.True(t, tx.Owed(), "the signal is not lost")
	require.False(t, tx.Owed(), "and told once")

	fill(t, tx)
	var got []int
	require.Panics(t, func() {
		_, _, _ = rx.ReceiveEach(5, func(v int) {
			got = append(got, v)
			if len(got) == 2 {
				panic("second item")
			}
		})
	})
	require.Equal(t, []int{1, 2}, got)
	require.EqualValues(t, 3, count(mem))
	require.True(t, rx.Owed(), "the signal is not lost")
	next := make([]int, 1)
	_, _, err := rx.Receive(next)
	require.NoError(t, err)
	require.Equal(t, []int{7}, next, "nothing is delivered twice")
}

// A panic in the second span must not lose the signal that the first one made due.
func TestFault07CallbackPanicsAfterTheWrap(t *testing.T) {
	tx, rx, _ := newRing[int](t, 5, 0)
	advance(t, tx, rx, 3)
	made := 0
	require.Panics(t, func() {
		_, _, _ = tx.SendEach(4, func() int {
			if made++; made == 4 {
				panic("second item after the wrap")
			}
			return made
		})
	})
	require.True(t, tx.Owed(), "the ring was empty before the wrap")
	fill(t, tx)
	got := 0
	require.Panics(t, func() {
		_, _, _ = rx.ReceiveEach(5, func(int) {
			if got++; got == 4 {
				panic("second item after the wrap")
			}
		})
	})
	require.True(t, rx.Owed(), "the ring was full before the wrap")
}

func TestFault08PayloadChangedAfterReceive(t *testing.T) {
	tx, rx, mem := newRing[uint64](t, 5, 1)
	_, _, err := tx.Send([]uint64{1, 2, 3})
	require.NoError(t, err)
	got := make([]uint64, 3)
	_, _, err = rx.Receive(got)
	require.NoError(t, err)
	for i := ringbuf.HeaderSize; i < len(mem); i++ {
		mem[i] = 0xff
	}
	require.Equal(t, []uint64{1, 2, 3}, got)
}

type (
	exact  struct{ A, B uint32 }
	padded struct {
		A uint8
		B uint32
	}
	tail struct {
		A uint32
		B uint8
	}
	filled struct {
		A uint8
		_ [3]uint8
		B uint32
	}
	nested  struct{ In [2]padded }
	boolean struct{ A [4]bool }
)

func TestFault09ItemTypes(t *testing.T) {
	require.NoError(t, ringbuf.CheckType[int8]())
	require.NoError(t, ringbuf.CheckType[complex128]())
	require.NoError(t, ringbuf.CheckType[[3]float32]())
	require.NoError(t, ringbuf.CheckType[exact]())
	require.NoError(t, ringbuf.CheckType[filled]())
	require.NoError(t, ringbuf.CheckType[[4]exact]())
	for name, err := range map[string]error{
		"bool":        ringbuf.CheckType[bool](),
		"bool array":  ringbuf.CheckType[boolean](),
		"string":      ringbuf.CheckType[string](),
		"pointer":     ringbuf.CheckType[*int](),
		"unsafe":      ringbuf.CheckType[unsafe.Pointer](),
		"slice":       ringbuf.CheckType[[]byte](),
		"map":         ringbuf.CheckType[map[int]int](),
		"func":        ringbuf.CheckType[func()](),
		"chan":        ringbuf.CheckType[chan int](),
		"interface":   ringbuf.CheckType[any](),
		"padding":     ringbuf.CheckType[padded](),
		"tail":        ringbuf.CheckType[tail](),
		"nested":      ringbuf.CheckType[nested](),
		"no bytes":    ringbuf.CheckType[struct{}](),
		"empty array": ringbuf.CheckType[[0]int](),
	} {
		require.ErrorIs(t, err, ringbuf.ErrItemType, name)
	}
	_, err := ringbuf.NewSender[padded](memory(10, 8))
	require.ErrorIs(t, err, ringbuf.ErrItemType)
	require.ErrorContains(t, ringbuf.CheckType[nested](), "field In")
}

func TestNoAllocations(t *testing.T) {
	tx, rx, _ := newRing[uint64](t, 64, 1)
	buf := make([]uint64, 16)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _, _ = tx.Send(buf)
		_, _, _ = rx.Receive(buf)
		span, _ := tx.Reserve(4)
		_, _ = tx.Commit(len(span))
		view, _ := rx.Peek()
		_, _ = rx.Discard(len(view))
		_, _, _ = rx.Arm()
	}))
}

// spin lets a single processor run the other goroutine of a benchmark.
func spin() {
	if runtime.GOMAXPROCS(0) == 1 {
		runtime.Gosched()
	}
}
