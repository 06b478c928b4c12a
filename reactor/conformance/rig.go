package conformance

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// capacity is how many items the rings are asked to hold. They get a page, room for 504.
const capacity = 100

// errTest is what callbacks of tests fail with.
var errTest = errors.New("test error")

// rig is a loop with all that a test gives to it. At the end it closes the loop first,
// and then the ring ends, which the loop borrowed.
type rig struct {
	testing.TB
	variant
	driver Driver
	loop   Loop
	inside atomic.Bool // a callback is running
	ends   []func() error
}

func newRig(t testing.TB, d Driver, v variant) *rig {
	r := &rig{TB: t, variant: v, driver: d, loop: d.New(t, v.opts...)}
	t.Cleanup(func() {
		r.noError(r.loop.Close())
		for _, end := range slices.Backward(r.ends) {
			r.noError(end())
		}
	})
	return r
}

// noError is for any goroutine; only that of the test may stop, with require.
func (r *rig) noError(err error) {
	r.Helper()
	if err != nil {
		r.Errorf("unexpected: %v", err)
	}
}

// enter is the begin of every callback; what it returns is the end.
func (r *rig) enter() func() {
	if !r.inside.CompareAndSwap(false, true) {
		r.Errorf("two callbacks at a time")
		return func() {}
	}
	return func() { r.inside.Store(false) }
}

// handler makes a Handler of functions. A nil closed means that it must not be called.
func (r *rig) handler(ready func() error, closed func(error)) reactor.Handler {
	return reactor.Handler{
		Ready: func(ev reactor.Event) error {
			defer r.enter()()
			if !ev.Readable() {
				r.Errorf("turn of a ring with event %v", ev)
			}
			return ready()
		},
		Closed: func(err error) {
			defer r.enter()()
			if closed == nil {
				r.Errorf("Closed was called: %v", err)
				return
			}
			closed(err)
		},
	}
}

func (r *rig) attach(s reactor.Source, h reactor.Handler) Registration {
	reg, err := r.loop.Attach(s, h)
	require.NoError(r, err)
	require.NotNil(r, reg)
	return reg
}

// attachFirst attaches in a callback: reg is set before the first turn.
func (r *rig) attachFirst(reg *Registration, s reactor.Source, h reactor.Handler) {
	var err error
	r.do(func() { *reg, err = r.loop.Attach(s, h) })
	require.NoError(r, err)
}

// post runs f as a callback. Like all callbacks it must not stop its goroutine, as
// require does.
func (r *rig) post(f func()) {
	r.noError(r.loop.Post(func() {
		defer r.enter()()
		f()
	}))
}

// do runs f as a callback and waits for it.
func (r *rig) do(f func()) {
	r.Helper()
	done := make(chan bool)
	r.post(func() {
		defer close(done)
		f()
	})
	r.await("a post", done)
}

// rounds lets the loop go round, so that what is not to happen has had its chance.
func (r *rig) rounds() {
	r.Helper()
	for range 3 {
		r.do(func() {})
	}
}

// until waits for something to happen.
func (r *rig) until(what string, happened func() bool) {
	r.Helper()
	for end := time.Now().Add(patience); !happened(); runtime.Gosched() {
		if time.Now().After(end) {
			r.Fatalf("it does not happen: %s", what)
		}
	}
}

// await waits for c to be closed.
func (r *rig) await(what string, c <-chan bool) {
	r.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		r.Fatalf("it does not happen: %s", what)
	}
}

// times is how often to repeat what needs the loop and the test to take turns: with one
// processor a hot loop gives it away only when the runtime takes it.
func (r *rig) times(n int) int {
	if r.hot {
		return n / 50
	}
	return n
}

// handles makes a ring, and closes neither handle.
func (r *rig) handles() (near, far sharedring.Handle) {
	near, far, err := r.newHandles()
	require.NoError(r, err)
	return near, far
}

func (r *rig) newHandles() (near, far sharedring.Handle, err error) {
	if r.driver.Ring != nil {
		return r.driver.Ring(capacity, 8)
	}
	if near, err = sharedring.Create(capacity, 8); err != nil {
		return near, far, err
	}
	if far, err = near.Dup(); err != nil {
		return near, far, errors.Join(err, near.Close())
	}
	return near, far, nil
}

func (r *rig) receiver(h sharedring.Handle, opts ...sharedring.Option) *sharedring.Receiver[uint64] {
	rx, err := sharedring.OpenReceiver[uint64](h, opts...)
	require.NoError(r, err)
	r.ends = append(r.ends, rx.Close)
	return rx
}

func (r *rig) sender(h sharedring.Handle, opts ...sharedring.Option) *sharedring.Sender[uint64] {
	tx, err := sharedring.OpenSender[uint64](h, opts...)
	require.NoError(r, err)
	r.ends = append(r.ends, tx.Close)
	return tx
}

// incoming makes a ring that the loop receives from.
func (r *rig) incoming(opts ...sharedring.Option) (peer *sharedring.Sender[uint64], loop *sharedring.Receiver[uint64]) {
	near, far := r.handles()
	loop = r.receiver(near, opts...)
	return r.sender(far, opts...), loop
}

// outgoing makes a ring that the loop sends on.
func (r *rig) outgoing(opts ...sharedring.Option) (loop *sharedring.Sender[uint64], peer *sharedring.Receiver[uint64]) {
	near, far := r.handles()
	loop = r.sender(near, opts...)
	return loop, r.receiver(far, opts...)
}

// sink receives 0, 1, 2, ..., up to batch of them in a turn, and tells how it ends. It
// closes its ring then: the loop has let go of it.
type sink struct {
	r     *rig
	rx    *sharedring.Receiver[uint64]
	reg   Registration
	batch int
	turns atomic.Int64
	next  atomic.Uint64
	ends  chan error
}

func (r *rig) newSink(rx *sharedring.Receiver[uint64], batch int) *sink {
	return &sink{r: r, rx: rx, batch: batch, ends: make(chan error, 10)}
}

// sink attaches a sink.
func (r *rig) sink(rx *sharedring.Receiver[uint64], batch int) *sink {
	s := r.newSink(rx, batch)
	s.reg = r.attach(rx, r.handler(s.ready, s.closed))
	return s
}

func (s *sink) ready() error {
	s.turns.Add(1)
	buf := make([]uint64, s.batch)
	n, err := s.rx.Receive(buf)
	for _, v := range buf[:n] {
		if want := s.next.Load(); v != want {
			s.r.Errorf("item %d came where %d was due", v, want)
			return fmt.Errorf("item %d came where %d was due", v, want)
		}
		s.next.Add(1)
	}
	return err
}

func (s *sink) closed(err error) {
	s.r.noError(s.rx.Close())
	s.ends <- err
}

// has waits for n items in all.
func (s *sink) has(n uint64) {
	s.r.Helper()
	s.r.until(fmt.Sprintf("%d items", n), func() bool { return s.next.Load() >= n })
	require.Equal(s.r, n, s.next.Load())
}

// ended waits for the end, and checks that it is the only one.
func (s *sink) ended() error {
	s.r.Helper()
	return s.r.only(s.ends)
}

func (r *rig) only(ends <-chan error) (end error) {
	r.Helper()
	select {
	case end = <-ends:
	case <-time.After(patience):
		r.Fatalf("it does not happen: Closed")
	}
	r.rounds()
	require.Empty(r, ends, "Closed was called again")
	return end
}

// send sends from, from+1, ..., to-1 and waits for room.
func (r *rig) send(tx *sharedring.Sender[uint64], from, to uint64) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	for batch := uint64(1); from < to; batch = batch%37 + 1 {
		items := make([]uint64, min(batch, to-from))
		for i := range items {
			items[i] = from
			from++
		}
		if _, err := tx.SendContext(ctx, items); err != nil {
			if r.Context().Err() == nil { // else the test is over
				r.Errorf("send: %v", err)
			}
			return
		}
	}
}
