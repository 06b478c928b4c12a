package reactor

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// fakeHost notes what a Guest wants of it.
type fakeHost struct {
	watched map[int]uint64
	wakes   atomic.Int64
	err     error
}

func (f *fakeHost) Watch(fd int, token uint64) error {
	if f.err != nil {
		return f.err
	}
	f.watched[fd] = token
	return nil
}

func (f *fakeHost) Unwatch(fd int, token uint64) error {
	if f.watched[fd] != token {
		return errors.New("not watched")
	}
	delete(f.watched, fd)
	return nil
}

func (f *fakeHost) Wake() error {
	f.wakes.Add(1)
	return f.err
}

type guestHarness struct {
	*Guest
	host *fakeHost
	t    testing.TB
}

func newGuest(t testing.TB, opts ...Option) *guestHarness {
	host := &fakeHost{watched: map[int]uint64{}}
	g, err := NewGuest(host, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	return &guestHarness{Guest: g, host: host, t: t}
}

func (g *guestHarness) ring() *fakeRing {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	require.NoError(g.t, err)
	g.t.Cleanup(func() { require.NoError(g.t, unix.Close(fd)) })
	return &fakeRing{t: g.t, bell: fd}
}

func (g *guestHarness) turn(d time.Duration) (busy bool) {
	busy, err := g.Turn(d)
	require.NoError(g.t, err)
	return busy
}

func TestGuestTakesTurns(t *testing.T) {
	g := newGuest(t, WithSpin(0))
	f := g.ring()
	var total atomic.Int64
	f.count.Store(3) // before it was attached: no edge tells of it
	r, err := g.Attach(f, takeAll(f, &total))
	require.NoError(t, err)
	require.EqualValues(t, 1, g.host.wakes.Load())
	require.False(t, g.turn(0))
	require.EqualValues(t, 3, total.Load())

	f.send(2)
	require.False(t, g.turn(0))
	require.EqualValues(t, 3, total.Load(), "nobody told of the edge")
	k := g.host.watched[f.bell]
	g.Edge(k)
	require.False(t, g.turn(0))
	require.EqualValues(t, 5, total.Load())

	require.NoError(t, r.Close())
	require.Empty(t, g.host.watched)
	g.Edge(k)
	require.False(t, g.turn(0))
	require.EqualValues(t, 1, g.Stats().Spurious)
}

func TestGuestSaysBusyWhileABudgetIsSpent(t *testing.T) {
	g := newGuest(t, WithSpin(0))
	f := g.ring()
	f.count.Store(3)
	var turns int
	_, err := g.Attach(f, Handler{Ready: func(Event) error {
		turns++
		f.take(1)
		return nil
	}})
	require.NoError(t, err)
	require.True(t, g.turn(0))
	require.True(t, g.turn(0))
	require.False(t, g.turn(0))
	require.Equal(t, 3, turns)

	f.send(100)
	g.Edge(g.host.watched[f.bell])
	require.False(t, g.turn(time.Hour), "all of it in one Turn")
	require.Equal(t, 103, turns)
}

func TestGuestStaysBusyWhileARingIsHot(t *testing.T) {
	g := newGuest(t, WithSpin(time.Hour))
	f := g.ring()
	var total atomic.Int64
	_, err := g.Attach(f, takeAll(f, &total))
	require.NoError(t, err)
	require.True(t, g.turn(0), "hot")
	f.count.Add(1) // and no bell
	for total.Load() == 0 {
		require.True(t, g.turn(0))
	}
	require.EqualValues(t, 0, g.Stats().Edges)
}

func TestGuestWakesItsHostOncePerSleep(t *testing.T) {
	g := newGuest(t)
	require.False(t, g.turn(0))
	ran := 0
	for range 3 {
		require.NoError(t, g.Post(func() { ran++ }))
	}
	require.EqualValues(t, 1, g.host.wakes.Load())
	require.False(t, g.turn(0))
	require.Equal(t, 3, ran)

	require.NoError(t, g.Post(func() { // inside a Turn nobody needs a wake
		require.NoError(t, g.Post(func() { ran++ }))
	}))
	require.True(t, g.turn(0))
	require.False(t, g.turn(0))
	require.Equal(t, 4, ran)
	require.EqualValues(t, 2, g.host.wakes.Load())
}

func TestGuestCloseEndsRegistrations(t *testing.T) {
	g := newGuest(t)
	f := g.ring()
	var closed error
	_, err := g.Attach(f, Handler{
		Ready:  func(Event) error { return g.Close() },
		Closed: func(err error) { closed = err },
	})
	require.NoError(t, err)
	_, err = g.Turn(0)
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, closed, ErrClosed)
	require.Empty(t, g.host.watched)
	_, err = g.Turn(0)
	require.ErrorIs(t, err, ErrClosed)
	g.Edge(1)
}

func TestGuestTellsWhatItsHostRefuses(t *testing.T) {
	_, err := NewGuest(nil)
	require.ErrorIs(t, err, ErrInvalid)

	g := newGuest(t)
	f := g.ring()
	g.host.err = errTest
	_, err = g.Attach(f, nothing(t))
	require.ErrorIs(t, err, errTest)
	require.ErrorIs(t, g.Post(func() {}), errTest)
	require.Zero(t, g.Registered())
	g.host.err = nil
}

func TestGuestTokenFitsItsBits(t *testing.T) {
	for _, k := range []token{{1, 0}, {tokenMask, tokenMask}, {7, 1}} {
		d, err := k.datum()
		require.NoError(t, err)
		require.Equal(t, k, tokenOf(d))
		require.NotZero(t, d)
		require.Zero(t, d>>48)
	}
	_, err := token{slot: tokenMask + 1}.datum()
	require.ErrorIs(t, err, ErrInvalid)
}

// A napping guest sleeps in its Turn, and asks its rings in the next one. The host is not
// to sleep meanwhile.
func TestGuestNapsInItsTurn(t *testing.T) {
	g := newGuest(t, WithSpin(0), WithNap(time.Microsecond))
	f := g.ring()
	var total atomic.Int64
	_, err := g.Attach(f, takeAll(f, &total))
	require.NoError(t, err)
	require.False(t, g.turn(0))
	l := &g.loop
	l.moderation = moderation{napping: true, since: time.Hour}
	f.send(1)
	g.Edge(g.host.watched[f.bell])
	require.True(t, g.turn(time.Hour), "a nap ends a Turn")
	require.EqualValues(t, 1, total.Load())
	require.Equal(t, 1, l.moderation.brought)
	before := g.host.wakes.Load()
	require.NoError(t, g.Post(func() { total.Add(100) }))
	require.True(t, g.turn(0))
	require.EqualValues(t, 101, total.Load())
	require.Equal(t, before, g.host.wakes.Load(), "a nap ends by itself")

	l.moderation.since = 0 // judge: there is no load
	l.start = l.start.Add(-time.Second)
	for g.turn(0) {
	}
	require.False(t, l.moderation.napping)
}

func TestGuestNapsWhenItIsRungForTooOften(t *testing.T) {
	g := newGuest(t, WithSpin(0), WithNap(time.Microsecond))
	f := g.ring()
	_, err := g.Attach(f, nothing(t))
	require.NoError(t, err)
	g.loop.moderation.since = time.Hour // nothing is judged
	for i := range 5 {
		g.Edge(g.host.watched[f.bell])
		require.False(t, g.turn(0))
		require.Equal(t, i+1, g.loop.moderation.edges)
	}
	g.loop.moderation.edges = 1_000_000
	g.loop.moderation.since = time.Since(g.loop.start) - napWindow
	require.False(t, g.turn(0))
	require.True(t, g.loop.moderation.napping, "from the next Turn on")
	require.True(t, g.turn(0))
}
