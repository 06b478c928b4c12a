package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/stress/harness"
	"github.com/shmloop/shmloop/stress/scenario"
)

// checkSize is for messages that have no room for their number.
func checkSize(p harness.Params) error {
	if p.Size < 8 {
		return fmt.Errorf("a message of %d bytes has no room for its number", p.Size)
	}
	return nil
}

func rustEcho() []harness.Arm {
	return []harness.Arm{{
		Name:  "rust",
		About: "the Rust crate shmem-ipc 0.3.0, unmodified: its own benchmark, with a ring as long as that of arm ring, and a receiver that copies",
		Skip:  rustMissing,
		Block: func(ctx context.Context, p harness.Params) (harness.Result, error) {
			if err := checkSize(p); err != nil {
				return harness.Result{}, err
			}
			rust, err := startRust(ctx, nil, "echo", p.Size, scenario.EchoRing(p.Size), int(warmUp(p)), int(p.Duration))
			if err != nil {
				return harness.Result{}, err
			}
			return rustResult(p, rust)
		},
	}}
}

func rustStream() []harness.Arm {
	rust := func(batch int) func(context.Context, harness.Params) (harness.Result, error) {
		return func(ctx context.Context, p harness.Params) (harness.Result, error) {
			return rustReceives(ctx, p, rustSends(p, batch))
		}
	}
	return []harness.Arm{
		{
			Name:  "rust",
			About: "the Rust crate shmem-ipc 0.3.0, unmodified, both ends: a ring as long as that of arm ring, one send a message, blocking",
			Skip:  rustMissing, Block: rust(0),
		},
		{
			Name:  "rust-buffered",
			About: "the same, messages gathered in a buffer of 64 KiB",
			Skip:  skipBuffered(rustMissing), Block: rust(scenario.StreamBatch),
		},
		{
			Name: "go-rust", Ours: true,
			About: "the sender of arm ring, in Go, and the receiver of arm rust",
			Skip:  rustMissing, Block: goToRust,
		},
		{
			Name: "rust-go", Ours: true,
			About: "the sender of arm rust and the receiver of arm ring, in Go",
			Skip:  rustMissing, Block: rustToGo,
		},
	}
}

// skipBuffered is for arms that gather messages: large ones are not gathered.
func skipBuffered(skip func(harness.Params) string) func(harness.Params) string {
	return func(p harness.Params) string {
		if p.Size >= scenario.StreamBatch {
			return "a message fills the buffer: the same as without one"
		}
		return skip(p)
	}
}

// goToRust sends with the peer of arm ring.
func goToRust(ctx context.Context, p harness.Params) (harness.Result, error) {
	const anyCPU = "-1"
	return rustReceives(ctx, p, func(ctx context.Context, ring []*os.File) (*harness.PeerProcess, error) {
		return harness.StartPeer(ctx, scenario.StreamPeer, p, ring, "ring", anyCPU)
	})
}

// rustToGo receives as arm ring does.
func rustToGo(ctx context.Context, p harness.Params) (harness.Result, error) {
	near, sender, err := startSender(ctx, p, rustSends(p, 0))
	if err != nil {
		return harness.Result{}, err
	}
	rx, err := sharedring.OpenReceiver[byte](near, sharedring.TrustPeer())
	if err != nil {
		return harness.Result{}, errors.Join(err, sender.Stop())
	}
	return scenario.StreamReceive(ctx, p, rx, sender)
}

// rustReceives measures with a receiver in Rust, which is the consumer.
func rustReceives(ctx context.Context, p harness.Params, start senderStart) (harness.Result, error) {
	near, sender, err := startSender(ctx, p, start)
	if err != nil {
		return harness.Result{}, err
	}
	ring := filesOf(near)
	defer closeFiles(ring)
	receiver, err := startRust(ctx, ring, "receive", p.Size, scenario.StreamRing, scenario.StreamBatch,
		int(warmUp(p)), int(p.Duration), sender.Pid())
	if err != nil {
		return harness.Result{}, errors.Join(err, sender.Stop())
	}
	r, err := rustResult(p, receiver)
	if err := errors.Join(err, sender.Stop()); err != nil {
		return harness.Result{}, err
	}
	var sent, doorbells float64
	if _, err := fmt.Fscan(sender.Stdout, &sent, &doorbells); err != nil {
		return harness.Result{}, fmt.Errorf("what the sender has sent: %w", err)
	}
	r.Metrics[harness.Doorbells] += doorbells / max(sent, 1)
	return r, nil
}

// A senderStart starts a process that sends on an inherited ring, and prints at its
// end what scenario.StreamPeer does.
type senderStart func(ctx context.Context, ring []*os.File) (*harness.PeerProcess, error)

func rustSends(p harness.Params, batch int) senderStart {
	return func(ctx context.Context, ring []*os.File) (*harness.PeerProcess, error) {
		return startRust(ctx, ring, "send", p.Size, scenario.StreamRing, batch)
	}
}

// startSender makes a ring and starts its sender. near is for the receiver.
func startSender(ctx context.Context, p harness.Params, start senderStart) (near sharedring.Handle, sender *harness.PeerProcess, err error) {
	if err := checkSize(p); err != nil {
		return near, nil, err
	}
	near, far, err := newRing()
	if err != nil {
		return near, nil, err
	}
	ring := filesOf(far)
	defer closeFiles(ring)
	if sender, err = start(ctx, ring); err != nil {
		err = errors.Join(err, near.Close())
	}
	return near, sender, err
}

// newRing makes a ring of bytes, and returns its descriptors twice.
func newRing() (near, far sharedring.Handle, err error) {
	near, err = sharedring.Create(scenario.StreamRing, 1)
	if err != nil {
		return near, far, err
	}
	if far, err = near.Dup(); err != nil {
		err = errors.Join(err, near.Close())
	}
	return near, far, err
}

func filesOf(h sharedring.Handle) []*os.File {
	return []*os.File{
		os.NewFile(uintptr(h.Memory), "memory"),
		os.NewFile(uintptr(h.EmptySignal), "empty-signal"),
		os.NewFile(uintptr(h.FullSignal), "full-signal"),
	}
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // a process has its own
	}
}

// warmUp is that of a Window.
func warmUp(p harness.Params) time.Duration {
	return min(max(p.Duration/4, 20*time.Millisecond), 500*time.Millisecond)
}

// startRust starts our Rust program. The files become its descriptors 3, 4, ...
func startRust(ctx context.Context, files []*os.File, command string, numbers ...int) (*harness.PeerProcess, error) {
	program, err := rustProgram()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, command)
	for _, n := range numbers {
		cmd.Args = append(cmd.Args, strconv.Itoa(n))
	}
	cmd.ExtraFiles, cmd.Stderr = files, os.Stderr
	return harness.StartCommand(ctx, cmd)
}

// rustResult waits for the result of a Rust program that measures.
func rustResult(p harness.Params, rust *harness.PeerProcess) (harness.Result, error) {
	line, err := rust.Stdout.ReadString('\n')
	if err := errors.Join(err, rust.Stop()); err != nil {
		return harness.Result{}, err
	}
	v, err := keyValues(line)
	if err != nil {
		return harness.Result{}, err
	}
	n := v["messages"]
	if n == 0 || v["ns"] == 0 {
		return harness.Result{}, errors.New("no message came in the window")
	}
	r := harness.Result{
		Metrics: map[harness.Metric]float64{
			harness.MessagesPerSecond: n / v["ns"] * 1e9,
			harness.BytesPerSecond:    n / v["ns"] * 1e9 * float64(p.Size),
			harness.NsPerMessage:      v["ns"] / n,
			harness.ConsumerCPU:       v["cpu_ns"] / n,
			harness.Doorbells:         v["doorbells"] / n,
			harness.Waits:             v["waits"] / n,
			harness.Switches:          v["switches"] / n,
		},
		Lost: uint64(v["lost"]), Duplicated: uint64(v["duplicated"]), Reordered: uint64(v["reordered"]),
	}
	if v["producer_cpu_ns"] > 0 {
		r.Metrics[harness.ProducerCPU] = v["producer_cpu_ns"] / n
	}
	return r, nil
}

// keyValues parses a line of KEY=NUMBER.
func keyValues(line string) (map[string]float64, error) {
	values := map[string]float64{}
	for _, field := range strings.Fields(line) {
		key, text, _ := strings.Cut(field, "=")
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%q of a Rust program: %w", field, err)
		}
		values[key] = v
	}
	return values, nil
}
