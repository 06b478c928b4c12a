package scenario

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shmloop/shmloop/stress/harness"
)

const (
	pongPeer    = "pong"
	pongRing    = 64 << 10
	pongSamples = 8 // one round trip in so many goes into the histogram: a look at the clock costs some 40 ns
)

func pingpong() harness.Scenario {
	s := harness.Scenario{
		Name: "pingpong",
		About: "A process sends a message, a second one sends it back, and the first waits for it before it sends the next. " +
			"The time of a round trip is measured. Spinning arms run on two CPUs and are never woken. In sleeping arms both processes share one CPU, " +
			"where a wake-up is a switch from one to the other; in the arms called free they are where the kernel puts them, " +
			"and a wake-up may be that of an idle CPU, which on a virtual machine costs more than all the rest.",
		Sizes:    []int{64},
		Defaults: harness.Params{Duration: 2 * time.Second},
		Quick:    harness.Params{Duration: 200 * time.Millisecond},
		Columns: []harness.Metric{harness.NsPerMessage, harness.P50, harness.P99, harness.P999, harness.ConsumerCPU,
			harness.Doorbells, harness.Switches, harness.Allocs},
		Headline: []harness.Metric{harness.NsPerMessage, harness.P50, harness.P99},
	}
	for _, l := range pongLinks {
		s.Arms = append(s.Arms, harness.Arm{Name: l.name, About: l.about, Ours: l.ours, Block: l.pingPong, Skip: l.skip})
	}
	return s
}

var pongLinks = []link{
	ringPong("ring-spin", "two rings of bytes; both sides call Receive until something is there", anywhere, spinning),
	ringPong("ring", "two rings; a side that must wait sleeps at once: Arm, then epoll_wait on its own thread; the other's send rings its doorbell", together, sleeping),
	{name: "unix", about: "a unix stream socket pair, blocking write(2) and read(2)", place: together, open: openUnix, dial: dialSocket},
	{name: "pipe", about: "two pipes, blocking write(2) and read(2)", place: together, open: openPipes, dial: dialPipes},
	ringPong("ring-free", "as ring, on any CPU", anywhere, sleeping),
	ringPong("ring-context", "two rings, ReceiveContext, on any CPU: it polls some microseconds, then parks the goroutine", anywhere, blocking),
	{name: "unix-free", about: "as unix, on any CPU", open: openUnix, dial: dialSocket},
}

func ringPong(name, about string, place placement, wait waiter) link {
	l := link{
		name: name, about: about, ours: true, place: place,
		open: func(ctx context.Context) (*end, []int, error) { return newRingPair(ctx, pongRing, wait) },
		dial: func(ctx context.Context) (*end, error) { return openRingPair(ctx, pongRing, wait) },
	}
	if place == anywhere {
		l.skip = oneCPU
	}
	return l
}

// pingPong is the side that measures.
func (l link) pingPong(ctx context.Context, p harness.Params) (_ harness.Result, err error) {
	if p.Size < minSize {
		return harness.Result{}, tooSmall(p)
	}
	near, peer, err := l.connect(ctx, p, pongPeer)
	if err != nil {
		return harness.Result{}, err
	}
	w := harness.NewWindow(p, peer)
	near.count(w)
	w.Start(ctx)
	var check harness.Check
	err = ping(near, p.Size, w, &check)
	if err = errors.Join(err, near.close(), peer.Stop()); err != nil {
		return harness.Result{}, err
	}
	return w.Result(&check)
}

func ping(e *end, size int, w *harness.Window, check *harness.Check) error {
	ping, pong := message(size), message(size)
	for seq := uint64(0); ; {
		start := time.Now()
		for i := range pongSamples {
			binary.NativeEndian.PutUint64(ping, seq)
			if err := roundTrip(e, ping, pong); err != nil {
				return fmt.Errorf("scenario: round trip %d: %w", seq, err)
			}
			if i == 0 {
				w.Record(time.Since(start))
			}
			check.See(binary.NativeEndian.Uint64(pong))
			seq++
		}
		if !w.Add(pongSamples, pongSamples*size) {
			return nil
		}
	}
}

func roundTrip(e *end, ping, pong []byte) error {
	if _, err := e.Write(ping); err != nil {
		return err
	}
	_, err := io.ReadFull(e, pong)
	return err
}

// pong is the other side.
func pong(ctx context.Context, p harness.Params, args []string) error {
	far, err := accept(ctx, pongLinks, args)
	if err != nil {
		return err
	}
	m := message(p.Size)
	for err == nil {
		if _, err = io.ReadFull(far, m); err == nil {
			_, err = far.Write(m)
		}
	}
	if over(err) {
		err = nil
	}
	return errors.Join(err, far.close())
}
