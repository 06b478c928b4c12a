package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/shmloop/shmloop/stress/harness"
)

// fanin compares the ways in which one process receives from many rings.
func fanin() harness.Scenario {
	return harness.Scenario{
		Name: "fanin",
		About: "Many rings, or connections, into one process. Each producer process has its part of them and sends to them " +
			"in turn: one message of 64 bytes by one call, or in the buffered arms one write for 64 messages. " +
			"Flat out it passes by those that are full; at a rate (-rate, in all) each message carries the time at which it was " +
			"due, which is the origin of its latency. The consumer copies the messages out and checks the sequence numbers of " +
			"each ring.",
		Sizes:    []int{recordSize},
		Defaults: harness.Params{Rings: 1000, Producers: 1, Duration: 240 * time.Millisecond}, // -duration 5s for figures
		Quick:    harness.Params{Rings: 100, Duration: 200 * time.Millisecond},
		Paced:    true,
		Arms: []harness.Arm{
			ringArm("reactor", "rings, one reactor.Loop", false, serveByLoop),
			ringArm("goroutine", "rings, a goroutine for each in ReceiveContext", true, serveByGoroutines),
			ringArm("goroutine-1p", "the same with GOMAXPROCS=1", true, onOneProcessor(serveByGoroutines)),
			ringArm("epoll-direct", "rings, an epoll loop of the program's own with the doorbells in it", false, serveByDirect),
			ringArm("epoll-nested", "rings, an epoll loop of the program's own around a reactor.Loop", false, serveByNested),
			ringArm("gnet", "rings, one loop of gnet, eventfds in its epoll", false, serveByGnetRings),
			socketArm("unix", "unix sockets, package net, a goroutine for each, GOMAXPROCS=1; one write a message", 1, true, onOneProcessor(serveByNet)),
			socketArm("unix-buffered", "the same, GOMAXPROCS as it is; one write for 64 messages", socketBatch, true, serveByNet),
			socketArm("gnet-unix", "unix sockets, one loop of gnet; one write a message", 1, false, serveByGnet),
			socketArm("gnet-unix-buffered", "the same; one write for 64 messages", socketBatch, false, serveByGnet),
		},
	}
}

// onOneProcessor is for a consumer that is better off with GOMAXPROCS=1: no idle
// processor is woken for each goroutine that becomes runnable.
func onOneProcessor[A, B any](serve func(A, B) (*service, error)) func(A, B) (*service, error) {
	return func(a A, b B) (*service, error) {
		runtime.GOMAXPROCS(1)
		return serve(a, b)
	}
}

// socketBatch is how many records are one write in a buffered arm.
const socketBatch = 64

// A service receives on all flows, until stop.
type service struct {
	stop   func() error
	failed <-chan error  // it ended by itself
	waits  func() uint64 // calls that waited for work, so far; nil: not known
}

// A ringService begins to receive on all rings, and calls take with each batch and the
// number of its ring: from one goroutine at a time for each ring.
type ringService func(rings []ring, take func(i int, batch []record)) (*service, error)

// A socketService listens at path. Each connection that comes is the next flow.
type socketService func(path string, in *intake) (*service, error)

// ringArm is an arm of fanin over rings. goroutineEach says whether each has a
// goroutine.
func ringArm(name, about string, goroutineEach bool, serve ringService) harness.Arm {
	return harness.Arm{Name: name, About: about, Ours: !goroutineEach, Skip: otherSizes,
		Block: func(ctx context.Context, p harness.Params) (harness.Result, error) {
			rs, l, err := startRings(ctx, p)
			if err != nil {
				return harness.Result{}, err
			}
			defer rs.close()
			m := newMeasurement(p, l, goroutineEach)
			m.window.Count(harness.Doorbells, rs.doorbells)
			return m.run(ctx, func() (*service, error) { return serve(rs.rings, m.intake.take) })
		}}
}

// socketArm is an arm of fanin over unix sockets. As many records as batch are one
// write.
func socketArm(name, about string, batch int, goroutineEach bool, serve socketService) harness.Arm {
	skip := otherSizes
	if batch > 1 {
		skip = neverPaced
	}
	return harness.Arm{Name: name, About: about, Skip: skip,
		Block: func(ctx context.Context, p harness.Params) (harness.Result, error) {
			dir, err := os.MkdirTemp("", "fanin")
			if err != nil {
				return harness.Result{}, err
			}
			defer os.RemoveAll(dir)
			path := filepath.Join(dir, "socket")
			l, err := startLoad(ctx, socketPeer, p, nil, path, fmt.Sprint(batch))
			if err != nil {
				return harness.Result{}, err
			}
			m := newMeasurement(p, l, goroutineEach)
			return m.run(ctx, func() (*service, error) { return serve(path, m.intake) })
		}}
}

func neverPaced(p harness.Params) string {
	if p.Rate > 0 {
		return "a buffer would hold paced messages back"
	}
	return otherSizes(p)
}

// measurement is one block of a fan-in.
type measurement struct {
	window *harness.Window
	intake *intake
	load   *load
}

func newMeasurement(p harness.Params, l *load, goroutineEach bool) *measurement {
	w := harness.NewWindow(p, l.peers...)
	return &measurement{window: w, intake: newIntake(w, p, goroutineEach), load: l}
}

// run measures a service, and then has everything end in order: the producers, what
// is still on its way, the service.
func (m *measurement) run(ctx context.Context, serve func() (*service, error)) (harness.Result, error) {
	s, err := serve()
	if err != nil {
		m.load.kill()
		return harness.Result{}, err
	}
	if s.waits != nil {
		m.window.Count(harness.Waits, s.waits)
	}
	if err := m.measure(ctx, s); err != nil {
		m.load.kill()
		return harness.Result{}, errors.Join(err, s.stop())
	}
	sent, err := m.load.stop()
	if err == nil {
		m.intake.await(ctx, sent)
	}
	if err = errors.Join(err, s.stop()); err != nil {
		return harness.Result{}, err
	}
	return m.intake.result(m.window, sent)
}

func (m *measurement) measure(ctx context.Context, s *service) error {
	if err := m.load.ready(); err != nil {
		return err
	}
	m.window.Start(ctx)
	select {
	case <-m.window.Done():
		return nil
	case err := <-s.failed:
		return fmt.Errorf("the consumer ended early: %w", err)
	}
}
