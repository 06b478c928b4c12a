package gnetring

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// BenchmarkRoutes measures the way from a doorbell that another process rings to the
// callback on gnet's goroutine and back. The callback answers in a second ring.
//
//   - at once: the peer rings as soon as the loop has armed the ring, and spins for the
//     answer; so one wake-up is measured;
//   - asleep: the same 50 us later, when the loop sleeps soundly;
//   - round trip: as at once, but the peer sleeps in an epoll until the callback rings for it.
//
// Each route has b.N round trips of each kind, in blocks that take turns. To print the
// table:
//
//	go test -run '^$' -bench Routes -benchtime 20000x ./adapters/gnet
func BenchmarkRoutes(b *testing.B) {
	arms := []*arm{{name: "reactor.Loop"}}
	for _, r := range routes {
		arms = append(arms, &arm{name: "gnet, " + r.String(), route: r})
	}
	for _, a := range arms {
		a.start(b)
	}
	b.ResetTimer()
	for left := b.N; left > 0; left -= block {
		for _, a := range arms {
			a.measure(b, min(left, block))
		}
		slices.Reverse(arms) // A B B A
	}
	b.StopTimer()
	slices.SortFunc(arms, func(a, b *arm) int { return strings.Compare(b.name, a.name) })
	table := fmt.Sprintf("%-14s", "p50 p99, us")
	for _, k := range kinds {
		table += fmt.Sprintf("  %16s", k.name)
	}
	for _, a := range arms {
		table += fmt.Sprintf("\n%-14s", a.name)
		for i := range kinds {
			table += fmt.Sprintf("  %8.1f%8.1f", quantile(a.times[i], 50), quantile(a.times[i], 99))
		}
		b.ReportMetric(quantile(a.times[0], 50), strings.ReplaceAll(a.name, ", ", "-")+"-us")
	}
	if b.N > 1 { // not the try that comes first
		fmt.Print("\n" + table + "\n")
	}
}

// block is how many round trips a route has before the next has its turn.
const block = 500

// kind is one of round trips.
type kind struct {
	name   string
	pause  time.Duration // after the ring is armed
	sleeps bool          // until the answer
}

var kinds = [3]kind{{name: "at once"}, {name: "asleep", pause: 50 * time.Microsecond}, {name: "round trip", sleeps: true}}

// arm is a loop with a peer of its own.
type arm struct {
	name  string
	route routeOf // zero: a reactor.Loop
	peer  *proctest.Process
	times [3][]uint32 // ns, for each of kinds
}

func (a *arm) start(b *testing.B) {
	makeRing := a.route.make
	if makeRing == nil {
		makeRing = eventfdRing
	}
	near, far, err := makeRing(64, 8)
	require.NoError(b, err)
	rx, err := sharedring.OpenReceiver[uint64](near, sharedring.TrustPeer())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, rx.Close()) })
	back, farBack, err := makeRing(64, 8)
	require.NoError(b, err)
	tx, err := sharedring.OpenSender[uint64](back, sharedring.TrustPeer())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, tx.Close()) })
	var files []*os.File
	for _, fd := range []int{far.Memory, far.EmptySignal, far.FullSignal, farBack.Memory, farBack.EmptySignal, farBack.FullSignal} {
		f := os.NewFile(uintptr(fd), "ring")
		defer f.Close()
		files = append(files, f)
	}
	buf := make([]uint64, 64)
	a.attach(b, rx, reactor.Handler{Ready: func(reactor.Event) error {
		n, err := rx.Receive(buf)
		if n > 0 && err == nil {
			_, err = tx.Send(buf[:n])
		}
		return err
	}})
	a.peer = proctest.Start(b, "pinger", files)
	a.measure(b, block) // to warm up
	a.times = [3][]uint32{}
}

func (a *arm) attach(b *testing.B, rx reactor.Source, h reactor.Handler) {
	if a.route.make != nil {
		l := run(b, &hooks{}, []Option{WithReactor(reactor.WithSpin(0), reactor.WithNap(0))}).loop()
		_, err := l.Attach(rx, h, WithRoute(a.route.Route))
		require.NoError(b, err)
		return
	}
	l, err := reactor.NewLoop(reactor.WithSpin(0), reactor.WithNap(0))
	require.NoError(b, err)
	_, err = l.Attach(rx, h)
	require.NoError(b, err)
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	b.Cleanup(func() {
		require.NoError(b, l.Close())
		require.ErrorIs(b, <-ended, reactor.ErrClosed)
	})
}

// measure adds n round trips of each kind.
func (a *arm) measure(b *testing.B, n int) {
	for i := range kinds {
		_, err := fmt.Fprintln(a.peer.Stdin, n, i)
		require.NoError(b, err)
		times := make([]uint32, n)
		require.NoError(b, binary.Read(a.peer.Stdout, binary.NativeEndian, times))
		a.times[i] = append(a.times[i], times...)
	}
}

// quantile is in us.
func quantile(times []uint32, percent int) float64 {
	sorted := slices.Sorted(slices.Values(times))
	return float64(sorted[(len(sorted)-1)*percent/100]) / 1000
}

// pingerRole does round trips, as told by its standard input, and writes their times.
func pingerRole([]string) int {
	if err := pinger(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func pinger() error {
	tx, err := sharedring.OpenSender[uint64](sharedring.Handle{Capacity: 64, ItemSize: 8, Memory: 3, EmptySignal: 4, FullSignal: 5}, sharedring.TrustPeer())
	if err != nil {
		return err
	}
	rx, err := sharedring.OpenReceiver[uint64](sharedring.Handle{Capacity: 64, ItemSize: 8, Memory: 6, EmptySignal: 7, FullSignal: 8}, sharedring.TrustPeer())
	if err != nil {
		return err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, rx.FD(), &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}); err != nil {
		return err
	}
	p := &pings{tx, rx, epoll}
	for {
		var n, k int
		if _, err := fmt.Scanln(&n, &k); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		times := make([]uint32, n)
		for i := range times {
			if times[i], err = p.ping(kinds[k]); err != nil {
				return fmt.Errorf("round trip %d: %w", i, err)
			}
		}
		if err := binary.Write(os.Stdout, binary.NativeEndian, times); err != nil {
			return err
		}
	}
}

type pings struct {
	tx    *sharedring.Sender[uint64]
	rx    *sharedring.Receiver[uint64]
	epoll int
}

// ping waits until the other side has armed the ring, so that it has to be rung for.
func (p *pings) ping(k kind) (uint32, error) {
	for free := 0; free < p.tx.Len()-1; { // one slot is kept spare
		var err error
		if free, err = p.tx.Free(); err != nil {
			return 0, err
		}
	}
	for start := time.Now(); time.Since(start) < k.pause; {
	}
	var buf [1]uint64
	start := time.Now()
	if _, err := p.tx.Send(buf[:]); err != nil {
		return 0, err
	}
	for {
		n, err := p.rx.Receive(buf[:])
		if err != nil {
			return 0, err
		}
		if n > 0 {
			return uint32(time.Since(start)), nil
		}
		if k.sleeps {
			p.sleep()
		}
	}
}

func (p *pings) sleep() {
	if pending, err := p.rx.Arm(); !pending && err == nil {
		_, _ = unix.EpollWait(p.epoll, make([]unix.EpollEvent, 1), -1)
	}
}
