package scenario

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/stress/harness"
)

func TestShare(t *testing.T) {
	for _, test := range [][]int{{10, 4, 3, 3, 2, 2}, {2, 3, 1, 1, 0}, {0, 1, 0}, {9, 3, 3, 3, 3}} {
		var shares []int
		for i := range test[1] {
			shares = append(shares, share(test[0], test[1], i))
		}
		require.Equal(t, test[2:], shares, "%d in %d parts", test[0], test[1])
	}
}

func TestRecordOnASocket(t *testing.T) {
	r := record{Sequence: 1 << 60, Due: -2}
	b := make([]byte, recordSize)
	r.put(b)
	require.Equal(t, r.Sequence, sequenceOf(b))
	require.Equal(t, r.Due, dueOf(b))
}

// Three producers share a rate, and take turns.
func TestPace(t *testing.T) {
	p := harness.Params{Producers: 3, Rate: 1000}
	for i := range 3 {
		pace := newPace(p, i)
		require.Equal(t, 3*time.Millisecond, pace.period)
		require.Equal(t, time.Duration(i)*time.Millisecond, pace.offset)
	}
	require.Zero(t, newPace(harness.Params{Producers: 3}, 1), "flat out")
	require.Equal(t, time.Millisecond, newPace(harness.Params{Rate: 1000}, 0).period, "one producer")
	require.Positive(t, newPace(harness.Params{Producers: 1, Rate: 1 << 40}, 0).period)
}

// spout is an outlet with some room, into which it puts sequence numbers. It stops its
// producer when it has enough.
type spout struct {
	room   int
	waits  int
	got    []uint64
	due    []int64
	enough int
	stop   func()
	broken error
}

func (s *spout) offer(r *record) (bool, error) {
	if s.room == 0 {
		return false, s.broken
	}
	s.room--
	return true, s.force(context.Background(), r)
}

func (s *spout) force(_ context.Context, r *record) error {
	s.waits++
	s.got, s.due = append(s.got, r.Sequence), append(s.due, r.Due)
	if len(s.got) >= s.enough {
		s.stop()
	}
	return s.broken
}

func (s *spout) flush(context.Context) error { return s.broken }

func newProducer(pace pace, spouts ...*spout) *producer {
	p := &producer{pace: pace, next: make([]record, len(spouts))}
	for _, s := range spouts {
		if s.stop = func() {}; s.enough > 0 {
			s.stop = func() { p.stopped.Store(true) }
		}
		p.outlets = append(p.outlets, s)
	}
	return p
}

// Flat out a producer passes by what is full, and waits when all is, for each in turn.
func TestFlatOut(t *testing.T) {
	a, b := &spout{room: 2}, &spout{room: 5, enough: 7}
	p := newProducer(pace{}, a, b)
	require.NoError(t, p.flatOut(t.Context()))
	require.Equal(t, []uint64{0, 1, 2}, a.got)
	require.Equal(t, []uint64{0, 1, 2, 3, 4, 5, 6}, b.got)
	require.EqualValues(t, 10, p.sent)
}

func TestProducerFails(t *testing.T) {
	broken := errors.New("broken")
	for _, s := range []*spout{{broken: broken}, {room: 1, broken: broken}, {room: 1, enough: 1, broken: broken}} {
		require.ErrorIs(t, newProducer(pace{}, s).flatOut(t.Context()), broken)
		require.ErrorIs(t, newProducer(pace{period: 1}, s).paced(t.Context()), broken)
	}
}

// A record that is late has the time at which it was due.
func TestPaced(t *testing.T) {
	a, b := &spout{}, &spout{enough: 3}
	p := newProducer(pace{period: time.Microsecond, offset: 5}, a, b)
	before := now()
	require.NoError(t, p.paced(t.Context()))
	require.Equal(t, []uint64{0, 1, 2}, a.got)
	require.Equal(t, []uint64{0, 1, 2}, b.got)
	require.GreaterOrEqual(t, a.due[0], before+5)
	for i := range 3 {
		require.EqualValues(t, 1000, b.due[i]-a.due[i])
		require.EqualValues(t, 2000*i, a.due[i]-a.due[0])
	}
	require.GreaterOrEqual(t, now(), b.due[2])
}

func TestIntakeCountsWhatIsMissing(t *testing.T) {
	in := newIntake(nil, harness.Params{Rings: 3}, false)
	for i, numbers := range [][]uint64{{0, 1}, {0, 0, 1}, {1, 0, 3}} {
		var batch []record
		for _, n := range numbers {
			batch = append(batch, record{Sequence: n})
		}
		in.take(i, batch)
	}
	require.EqualValues(t, 8, in.received())
	require.Equal(t, harness.Result{Lost: 1, Duplicated: 1, Reordered: 1}, in.wrong(8), "one of them in place of another")
	require.EqualValues(t, 5, in.wrong(12).Lost, "what was sent last too")
}

func TestIntakeOfBytes(t *testing.T) {
	in := newIntake(nil, harness.Params{Rings: 1}, false)
	b := make([]byte, 3*recordSize)
	for i := range uint64(3) {
		(&record{Sequence: i}).put(b[i*uint64(recordSize):])
	}
	in.takeBytes(0, b)
	require.EqualValues(t, 3, in.received())
	require.Zero(t, in.wrong(3))
}

// Without waiting for long: nothing more comes.
func TestAwait(t *testing.T) {
	in := newIntake(nil, harness.Params{Rings: 1}, false)
	in.take(0, make([]record, 2))
	in.await(t.Context(), 2)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	in.await(ended, 3)
}
