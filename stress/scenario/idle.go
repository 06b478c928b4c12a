package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/panjf2000/gnet/v2/pkg/pool/goroutine"

	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/stress/harness"
)

// idlePeer is the name of the process that watches the consumer, and then speaks.
const idlePeer = "idle-speaker"

// fewRings are what many are compared with.
const fewRings = 16

// idle shows what silent rings cost, and whether they slow down one that speaks.
func idle() harness.Scenario {
	return harness.Scenario{
		Name: "idle",
		About: "Many rings are attached and silent. Another process counts how often any thread of the consumer runs " +
			"(context switches, in /proc): wake-ups. Then it speaks on one of the rings, a message of 64 bytes at a time: " +
			"the consumer answers on a ring the other way, and the next message follows at its time, by when the consumer " +
			"sleeps again. The latency is from the time at which a message was due to the callback that has it. " +
			"Heap is that of all rings attached, with the stacks of goroutines. The arms with 16 rings show what the silent ones cost.",
		Sizes:    []int{recordSize},
		Defaults: harness.Params{Rings: 9000, Rate: 2000, Duration: 1200 * time.Millisecond},
		Quick:    harness.Params{Rings: 1000, Duration: 400 * time.Millisecond},
		Rounds:   4, // of blocks that make thousands of rings first
		Paced:    true,
		Columns:  []harness.Metric{harness.Wakeups, harness.HeapPerRing, harness.P50, harness.P99, harness.ConsumerCPU},
		Headline: []harness.Metric{harness.P50, harness.HeapPerRing},
		Arms: []harness.Arm{
			idleArm("reactor", "one reactor.Loop", 2, false, serveByLoop),
			idleArm("reactor-16", "the same with 16 rings", 2, true, serveByLoop),
			idleArm("goroutine", "a goroutine for each ring in ReceiveContext", 3, false, serveByGoroutines),
			idleArm("goroutine-16", "the same with 16 rings", 3, true, serveByGoroutines),
		},
	}
}

// idleArm is an arm of idle that needs so many descriptors for a ring.
func idleArm(name, about string, descriptors int, few bool, serve ringService) harness.Arm {
	return harness.Arm{Name: name, About: about, Ours: name == "reactor", Skip: idleSkip,
		Block: func(ctx context.Context, p harness.Params) (harness.Result, error) {
			if few {
				p.Rings = min(p.Rings, fewRings)
			}
			b := idleBlock{p: p, serve: serve, failed: make(chan error, 1)}
			note, err := b.fit(descriptors)
			if err != nil {
				return harness.Result{}, err
			}
			r, err := b.run(ctx)
			if note != "" {
				r.Notes = append(r.Notes, note)
			}
			if few {
				delete(r.Metrics, harness.HeapPerRing) // of too few to tell
			}
			return r, err
		}}
}

func idleSkip(p harness.Params) string {
	if p.Rate == 0 {
		return "a consumer that is to sleep between two messages needs a -rate"
	}
	return otherSizes(p)
}

// idleBlock is one block.
type idleBlock struct {
	p      harness.Params
	serve  ringService
	window *harness.Window
	check  harness.Check
	answer *sharedring.Sender[record]
	failed chan error // of an answer
}

// otherDescriptors is what a block needs beside its rings.
const otherDescriptors = 64

// fit has as many rings as the limits allow, and says so if that is less.
func (b *idleBlock) fit(descriptors int) (note string, err error) {
	allowed, err := allowDescriptors(descriptors*b.p.Rings + otherDescriptors)
	if err != nil {
		return "", err
	}
	if fits := (allowed - otherDescriptors) / descriptors; fits < b.p.Rings {
		note = fmt.Sprintf("%d of %d rings: each takes %d descriptors, and RLIMIT_NOFILE is %d.", fits, b.p.Rings, descriptors, allowed)
		b.p.Rings = fits
	}
	return note, nil
}

func (b *idleBlock) run(ctx context.Context) (r harness.Result, err error) {
	goroutine.DefaultWorkerPool.Release() // gnet's, which ticks twice a second
	b.window = harness.NewWindow(b.p)
	before := memory()
	rings, far, err := b.makeRings()
	defer func() { err = errors.Join(err, b.closeRings(rings)) }()
	if err != nil {
		return r, errors.Join(err, closeFiles(far))
	}
	s, err := b.serve(rings, b.take)
	if err != nil {
		return r, errors.Join(err, closeFiles(far))
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	heap := memory() - before
	speaker, err := harness.StartPeer(ctx, idlePeer, b.p, far, strconv.Itoa(os.Getpid()))
	if err = errors.Join(err, closeFiles(far)); err != nil {
		return r, err
	}
	var wakeups float64
	if _, err := fmt.Fscanln(speaker.Stdout, &wakeups); err != nil {
		return r, errors.Join(fmt.Errorf("what the speaker saw: %w", err), speaker.Stop())
	}
	if err := errors.Join(b.measure(ctx, s), speaker.Stop()); err != nil {
		return r, err
	}
	r, err = b.window.Result(&b.check)
	if err == nil {
		r.Metrics[harness.Wakeups] = wakeups
		r.Metrics[harness.HeapPerRing] = float64(heap) / float64(b.p.Rings)
	}
	return r, err
}

// makeRings makes the silent rings, and before them the one that is spoken on, with
// one for the answers. far are the descriptors of these two for the speaker. All that
// was made before an error is returned with it.
func (b *idleBlock) makeRings() (rings []ring, far []*os.File, err error) {
	first, far, err := newRing()
	if err != nil {
		return nil, far, err
	}
	rings = append(rings, first)
	h, err := sharedring.Create(ringCapacity, recordSize)
	if err != nil {
		return rings, far, err
	}
	far = append(far, inheritable(h)...)
	mine, err := h.Dup()
	if err != nil {
		return rings, far, err
	}
	if b.answer, err = sharedring.OpenSender[record](mine); err != nil {
		return rings, far, err
	}
	for len(rings) < b.p.Rings {
		h, err := sharedring.Create(silentCapacity, recordSize)
		if err != nil {
			return rings, far, err
		}
		silent, err := sharedring.OpenReceiver[record](h)
		if err != nil {
			return rings, far, err
		}
		rings = append(rings, silent)
	}
	return rings, far, nil
}

func (b *idleBlock) closeRings(rings []ring) error {
	var errs []error
	for _, rx := range rings {
		errs = append(errs, rx.Close())
	}
	if b.answer != nil {
		errs = append(errs, b.answer.Close())
	}
	return errors.Join(errs...)
}

// silentCapacity is that of the silent rings: a page each.
const silentCapacity = 63

// take has only the first ring's.
func (b *idleBlock) take(_ int, batch []record) {
	at := now()
	for j := range batch {
		b.check.See(batch[j].Sequence)
		b.window.Record(time.Duration(at - batch[j].Due))
	}
	b.window.Add(len(batch), len(batch)*recordSize)
	if n, err := b.answer.Send(batch); err != nil || n < len(batch) {
		report(b.failed, fmt.Errorf("answered %d of %d messages: %w", n, len(batch), err))
	}
}

func (b *idleBlock) measure(ctx context.Context, s *service) error {
	b.window.Start(ctx)
	select {
	case <-b.window.Done():
		return nil
	case err := <-s.failed:
		return err
	case err := <-b.failed:
		return err
	}
}

// memory is what is live on the heap and in stacks. All else is given back to the
// system, so that the runtime does not wake up later to do that bit by bit.
func memory() uint64 {
	debug.FreeOSMemory()
	debug.FreeOSMemory() // what the first one's finalizers and cleanups let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func closeFiles(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// speak is the process beside the consumer. It prints the consumer's wake-ups a second
// while all is silent, and then speaks until it is told to stop.
func speak(ctx context.Context, p harness.Params, args []string) error {
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	tx, err := sharedring.OpenSender[record](ringAt(3))
	if err != nil {
		return err
	}
	rx, err := sharedring.OpenReceiver[record](ringAt(6))
	if err != nil {
		return err
	}
	wakeups, err := watch(ctx, pid, p.Duration)
	if err != nil {
		return err
	}
	fmt.Println(wakeups)
	messages, answers := make([]record, 1), make([]record, 1)
	pace := newPace(p, 0)
	for due := now(); ctx.Err() == nil; due += int64(pace.period) {
		pace.wait(due)
		messages[0].Due = due
		if _, err := tx.SendContext(ctx, messages); err != nil {
			return err
		}
		if _, err := rx.ReceiveContext(ctx, answers); err != nil {
			return err
		}
		if answers[0] != messages[0] {
			return fmt.Errorf("message %d is answered by %d", messages[0].Sequence, answers[0].Sequence)
		}
		messages[0].Sequence++
	}
	return nil
}

const (
	quiet    = 100 * time.Millisecond // without a switch, and a process has settled
	patience = 5 * time.Second        // for that
)

// watch returns how often a second threads of a process are switched to or from. It
// first waits until the process has settled.
func watch(ctx context.Context, pid int, d time.Duration) (float64, error) {
	for start := time.Now(); time.Since(start) < patience; {
		if n, err := watchFor(ctx, pid, quiet); n == 0 || err != nil {
			break
		}
	}
	n, err := watchFor(ctx, pid, d)
	return float64(n) / d.Seconds(), err
}

func watchFor(ctx context.Context, pid int, d time.Duration) (uint64, error) {
	before, err := switchesOf(pid)
	if err != nil {
		return 0, err
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	after, err := switchesOf(pid)
	return after - before, err
}

// switchesOf counts the context switches of all threads of a process (proc_pid_status(5)).
func switchesOf(pid int) (sum uint64, err error) {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(paths) == 0 {
		return 0, fmt.Errorf("threads of process %d: %w", pid, errors.Join(err, os.ErrNotExist))
	}
	for _, path := range paths {
		status, err := os.ReadFile(path)
		if err != nil {
			continue // a thread that has ended
		}
		for line := range strings.Lines(string(status)) {
			name, value, _ := strings.Cut(line, ":")
			if !strings.HasSuffix(name, "ctxt_switches") {
				continue
			}
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", path, err)
			}
			sum += n
		}
	}
	return sum, nil
}
