//go:build linux

package interop_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring"
)

func TestMain(m *testing.M) { proctest.Main(m, nil) }

// shape is a ring and how many items go through it. The memory is whole pages, so
// capacity 1 gives 4032 bytes of items, and a ring of length 1, 2 or 3 needs items
// of more than 1,008 bytes: (4096-64)/4000 = 1, /2000 = 2, /1300 = 3.
type shape struct {
	item     string
	capacity int
	length   int // as both sides derive it
	count    int
}

var shapes = []shape{
	{"u8", 1, 4032, 2_000_000},
	{"u64", 1, 504, 1_000_000},
	{"u64", 1 << 16, 66_040, 1_000_000},
	{"rec24", 1, 168, 1_000_000},
	{"rec24", 400, 509, 1_000_000}, // 3 pages: (12288-64)/24, odd
	{"bytes4000", 1, 1, 2_000},
	{"bytes2000", 1, 2, 2_000},
	{"bytes1300", 1, 3, 2_000},
}

// trial is a shape and how the two ends use it.
type trial struct {
	shape
	peerMakesRing bool
	goSlow        bool // else the peer is the slower one
	hold          int  // held tail or spare slot at our end; 0 is off
	inPlace       bool // Reserve, Commit, Peek, Discard, sleeping on an epoll; else the calls with a context
	trusted       bool // doorbells rung with a plain write
}

// trials is every combination of the first three ways; the fourth is their parity, so
// that every three of these four ways still meet in all combinations. How doorbells
// are rung changes with the second and third, and from shape to shape.
func trials() []trial {
	var all []trial
	for i, s := range shapes {
		for j := range 8 {
			c := trial{shape: s, peerMakesRing: j&1 != 0, goSlow: j&2 != 0, hold: j >> 2}
			c.inPlace = (j^j>>1^j>>2)&1 != 0
			c.trusted = (i^j>>1^j>>2)&1 != 0
			all = append(all, c)
		}
	}
	return all
}

func (c trial) name(goSends bool) string {
	maker, faster, calls, ring := "go", "sender", "copying", "untrusted"
	if c.peerMakesRing {
		maker = "rust"
	}
	if c.goSlow == goSends {
		faster = "receiver"
	}
	if c.inPlace {
		calls = "in_place"
	}
	if c.trusted {
		ring = "trusted"
	}
	return fmt.Sprintf("%s_length_%d/ring_by_%s/%s_faster/hold_%d/%s/%s",
		c.item, c.length, maker, faster, c.hold, calls, ring)
}

func (c trial) options() []sharedring.Option {
	opts := []sharedring.Option{sharedring.WithHold(c.hold)}
	if c.trusted {
		opts = append(opts, sharedring.TrustPeer())
	}
	return opts
}

const (
	seed      = 20_240_607
	fullSpeed = "0:0"
	slowWork  = 5_000 // rounds of a loop, some microseconds
)

// slowEvery is the items between two rests of the slower side.
func (c trial) slowEvery() int { return min(64, max(1, c.length/4)) }

func (c trial) job(peerSends bool) job {
	pace := fmt.Sprintf("%d:%d", c.slowEvery(), slowWork)
	if c.goSlow {
		pace = fullSpeed
	}
	return job{
		sends: peerSends, makesRing: c.peerMakesRing, item: c.item, capacity: c.capacity,
		count: c.count, seed: seed, batches: "0,1,64,7", pace: pace,
	}
}

func TestInteropGoToRust(t *testing.T) {
	peerProgram(t)
	for _, c := range trials() {
		t.Run(c.name(true), func(t *testing.T) { goToRustItem(t, c) })
	}
}

func TestInteropRustToGo(t *testing.T) {
	peerProgram(t)
	for _, c := range trials() {
		t.Run(c.name(false), func(t *testing.T) { rustToGoItem(t, c) })
	}
}

// A hold larger than the ring must not keep a sleeping peer from its space or items.
func TestInteropHoldLargerThanRing(t *testing.T) {
	peerProgram(t)
	for _, s := range []shape{{"u64", 1, 504, 100_000}, {"bytes4000", 1, 1, 500}, {"bytes1300", 1, 3, 500}} {
		for i := range 4 {
			c := trial{shape: s, hold: 1 << 20, goSlow: i&1 != 0, inPlace: i&2 != 0}
			t.Run("send/"+c.name(true), func(t *testing.T) { goToRustItem(t, c) })
			t.Run("receive/"+c.name(false), func(t *testing.T) { rustToGoItem(t, c) })
		}
	}
}

// goToRustItem is goToRust for the item type that the trial names.
func goToRustItem(t *testing.T, c trial) {
	switch c.item {
	case "u8":
		goToRust(t, c, byteAt)
	case "u64":
		goToRust(t, c, wordAt)
	case "rec24":
		goToRust(t, c, rec24At)
	case "bytes1300":
		goToRust(t, c, blockAt[[1300]byte])
	case "bytes2000":
		goToRust(t, c, blockAt[[2000]byte])
	case "bytes4000":
		goToRust(t, c, blockAt[[4000]byte])
	}
}

func goToRust[T comparable](t *testing.T, c trial, at func(seed, seq uint64) T) {
	tx, p := connectSender[T](t, c.job(false), c.options()...)
	require.Equal(t, c.length, tx.Len())
	items := newSeries(seed, at)
	if c.inPlace {
		p.require(t, sendInPlace(p.ctx, c, tx, items))
	} else {
		p.require(t, sendCopies(p.ctx, c, tx, items))
	}
	said, err := p.wait()
	p.require(t, err)
	require.Equal(t, wellDone(items), said)
	requireCount(t, p.probe, 0)
}

// rustToGoItem is rustToGo for the item type that the trial names.
func rustToGoItem(t *testing.T, c trial) {
	switch c.item {
	case "u8":
		rustToGo(t, c, byteAt)
	case "u64":
		rustToGo(t, c, wordAt)
	case "rec24":
		rustToGo(t, c, rec24At)
	case "bytes1300":
		rustToGo(t, c, blockAt[[1300]byte])
	case "bytes2000":
		rustToGo(t, c, blockAt[[2000]byte])
	case "bytes4000":
		rustToGo(t, c, blockAt[[4000]byte])
	}
}

func rustToGo[T comparable](t *testing.T, c trial, at func(seed, seq uint64) T) {
	rx, p := connectReceiver[T](t, c.job(true), c.options()...)
	require.Equal(t, c.length, rx.Len())
	items := newSeries(seed, at)
	if c.inPlace {
		p.require(t, receiveInPlace(p.ctx, c, rx, items))
	} else {
		p.require(t, receiveCopies(p.ctx, c, rx, items))
	}
	said, err := p.wait()
	p.require(t, err)
	require.Equal(t, wellDone(items), said)
	pending, err := rx.Pending()
	require.NoError(t, err)
	require.False(t, pending, "items beyond the last")
	pending, err = rx.Arm() // releases what is held
	require.NoError(t, err)
	require.False(t, pending, "items beyond the last")
	requireCount(t, p.probe, 0)
}

// wellDone is what a peer prints that moved the same items.
func wellDone[T comparable](items *series[T]) string {
	return fmt.Sprintf("ok count=%d sum=%016x\n", items.seq, items.sum)
}

func connectSender[T any](t *testing.T, j job, opts ...sharedring.Option) (*sharedring.Sender[T], *peer) {
	t.Helper()
	return connect(t, j,
		func() (*sharedring.Sender[T], error) { return sharedring.NewSender[T](j.capacity, opts...) },
		func(h sharedring.Handle) (*sharedring.Sender[T], error) { return sharedring.OpenSender[T](h, opts...) })
}

func connectReceiver[T any](t *testing.T, j job, opts ...sharedring.Option) (*sharedring.Receiver[T], *peer) {
	t.Helper()
	return connect(t, j,
		func() (*sharedring.Receiver[T], error) { return sharedring.NewReceiver[T](j.capacity, opts...) },
		func(h sharedring.Handle) (*sharedring.Receiver[T], error) {
			return sharedring.OpenReceiver[T](h, opts...)
		})
}

func sendCopies[T comparable](ctx context.Context, c trial, tx *sharedring.Sender[T], items *series[T]) error {
	buf := make([]T, 256)
	p := pacer{c: c}
	for left := c.count; left > 0; {
		src := buf[:p.batch(min(left, len(buf)))]
		items.fill(src)
		if n, err := tx.SendContext(ctx, src); err != nil {
			return fmt.Errorf("sending %d items, %d went, %d to follow: %w", len(src), n, left-len(src), err)
		}
		left -= len(src)
		p.moved(len(src))
	}
	return nil
}

func receiveCopies[T comparable](ctx context.Context, c trial, rx *sharedring.Receiver[T], items *series[T]) error {
	buf := make([]T, 256)
	p := pacer{c: c}
	for left := c.count; left > 0; {
		n, err := rx.ReceiveContext(ctx, buf[:p.batch(len(buf))])
		if err != nil {
			return fmt.Errorf("receiving, %d of %d items missing: %w", left, c.count, err)
		}
		if err := items.check(buf[:n]); err != nil {
			return err
		}
		left -= n
		p.moved(n)
	}
	return nil
}

func sendInPlace[T comparable](ctx context.Context, c trial, tx *sharedring.Sender[T], items *series[T]) error {
	edges, err := watch(tx.FD())
	if err != nil {
		return err
	}
	defer edges.close()
	p := pacer{c: c}
	for left := c.count; left > 0; {
		span, err := tx.Reserve(p.batch(min(left, c.length)))
		if err != nil {
			return fmt.Errorf("reserving, %d items to go: %w", left, err)
		}
		if len(span) == 0 {
			if err := sleep(ctx, tx, edges); err != nil {
				return fmt.Errorf("waiting for space, %d items to go: %w", left, err)
			}
			continue
		}
		items.fill(span)
		if err := tx.Commit(len(span)); err != nil {
			return fmt.Errorf("committing %d items, %d to go: %w", len(span), left, err)
		}
		left -= len(span)
		p.moved(len(span))
	}
	return nil
}

func receiveInPlace[T comparable](ctx context.Context, c trial, rx *sharedring.Receiver[T], items *series[T]) error {
	edges, err := watch(rx.FD())
	if err != nil {
		return err
	}
	defer edges.close()
	p := pacer{c: c}
	for left := c.count; left > 0; {
		view, err := rx.Peek()
		if err != nil {
			return fmt.Errorf("peeking, %d items missing: %w", left, err)
		}
		if len(view) == 0 {
			if err := sleep(ctx, rx, edges); err != nil {
				return fmt.Errorf("waiting for items, %d missing: %w", left, err)
			}
			continue
		}
		view = view[:p.batch(len(view))]
		if err := items.check(view); err != nil {
			return err
		}
		if err := rx.Discard(len(view)); err != nil {
			return fmt.Errorf("discarding %d items, %d missing: %w", len(view), left, err)
		}
		left -= len(view)
		p.moved(len(view))
	}
	return nil
}

// pacer is the peer's batches and pace, here.
type pacer struct {
	c     trial
	calls int
	since int
	work  uint64
}

// batch is how many of at most n items the next call moves.
func (p *pacer) batch(n int) int {
	sizes := [...]int{n, 1, 64, 7}
	p.calls++
	return min(n, sizes[p.calls%len(sizes)])
}

// moved slows this side down if it is to be the slower one.
func (p *pacer) moved(n int) {
	if p.since += n; !p.c.goSlow || p.since < p.c.slowEvery() {
		return
	}
	p.since = 0
	work := p.work
	for i := range uint64(slowWork) {
		work += i
	}
	p.work = work // or the loop could be left out
	runtime.Gosched()
}

// sleep arms the end and waits for an edge of its doorbell, as an event loop does.
func sleep(ctx context.Context, e interface{ Arm() (bool, error) }, edges *edges) error {
	if pending, err := e.Arm(); pending || err != nil {
		return err
	}
	return edges.wait(ctx)
}

// edges waits for a doorbell's edges. It never reads the counter: every ring is a new edge.
type edges struct{ epfd int }

func watch(fd int) (*edges, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	e := &edges{epfd}
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		e.close()
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	return e, nil
}

// wait returns after an edge. It looks at the context now and then, but never at the
// ring: that would hide a lost edge.
func (e *edges) wait(ctx context.Context) error {
	var events [1]unix.EpollEvent
	for {
		n, err := unix.EpollWait(e.epfd, events[:], int((100 * time.Millisecond).Milliseconds()))
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		if n > 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (e *edges) close() { _ = unix.Close(e.epfd) }
