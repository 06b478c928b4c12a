package scenario

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/stress/harness"
)

// A message of up to echoCached bytes goes through a ring of echoNearRing, which stays in a
// core's L2 cache beside the parts of the buffers that are being copied. Buffers of more
// do not stay in a cache: they go in pieces of echoRun through a ring of echoFarRing,
// because Receive writes runs of that length past the cache.
const (
	echoNearRing = 128 << 10
	echoCached   = 4 << 20
	echoFarRing  = 2 << 20
	echoRun      = 1 << 20
)

// EchoRing is the bytes of the ring for messages of size bytes.
func EchoRing(size int) int {
	if size > echoCached {
		return echoFarRing
	}
	return echoNearRing
}

func echo() harness.Scenario {
	return harness.Scenario{
		Name: "echo",
		About: "One thread has both ends and measures the time for a message: it sends one and receives it. " +
			"This is the chart of the Rust crate shmem-ipc. A message begins in a buffer of the sender and ends in a buffer " +
			"of the receiver, two copies in each arm. No other process and no wake-up is involved: it is the price of the calls.",
		Sizes:    []int{32, 256, 4 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20},
		Defaults: harness.Params{Duration: 500 * time.Millisecond},
		Quick:    harness.Params{Duration: 50 * time.Millisecond},
		Columns:  []harness.Metric{harness.NsPerMessage, harness.BytesPerSecond, harness.ConsumerCPU, harness.Doorbells, harness.Allocs},
		Headline: []harness.Metric{harness.NsPerMessage},
		Arms: []harness.Arm{
			{
				Name: "ring", Ours: true,
				About: "a ring of bytes of 128 KiB, Send and Receive; larger messages go in pieces of what fits, those of over 4 MiB in pieces of 1 MiB through a ring of 2 MiB; both ends are awake, so no doorbell rings",
				Block: echoBlock(openEchoRing()),
			},
			{
				Name: "ring-doorbell", Ours: true,
				About: "the same WithHold(0): a doorbell for every message, a plain write as in the Rust crate (TrustPeer)",
				Block: echoBlock(openEchoRing(sharedring.WithHold(0))),
			},
			{
				Name:  "unix",
				About: "a unix stream socket pair with the send buffer that the system allows, up to 4 MiB; write(2) and read(2); larger messages go in pieces of what the socket takes at once, which is faster than smaller pieces",
				Block: echoBlock(openEchoSocket),
			},
		},
	}
}

// An echoer has both ends.
type echoer interface {
	pass(dst, src []byte) error // sends src and receives it into dst
	close() error
}

// echoTurn is how many bytes go by between two looks at the time.
const echoTurn = 4 << 10

func echoBlock(open func(size int) (echoer, error)) func(context.Context, harness.Params) (harness.Result, error) {
	return func(ctx context.Context, p harness.Params) (_ harness.Result, err error) {
		if p.Size < minSize {
			return harness.Result{}, tooSmall(p)
		}
		if err := ownThread(anyCPU); err != nil {
			return harness.Result{}, err
		}
		e, err := open(p.Size)
		if err != nil {
			return harness.Result{}, err
		}
		defer func() { err = errors.Join(err, e.close()) }()
		w := harness.NewWindow(p)
		if ring, ok := e.(*echoRing); ok {
			w.Count(harness.Doorbells, ring.doorbells)
		}
		w.Start(ctx)
		var check harness.Check
		if err := runEcho(e, p.Size, w, &check); err != nil {
			return harness.Result{}, err
		}
		return w.Result(&check)
	}
}

func runEcho(e echoer, size int, w *harness.Window, check *harness.Check) error {
	src, dst := message(size), message(size)
	turn := max(1, echoTurn/size)
	for seq := uint64(0); w.Add(turn, turn*size); {
		for range turn {
			binary.NativeEndian.PutUint64(src, seq)
			if err := e.pass(dst, src); err != nil {
				return fmt.Errorf("scenario: echo of message %d: %w", seq, err)
			}
			check.See(binary.NativeEndian.Uint64(dst))
			seq++
		}
	}
	return nil
}

// echoRing is both ends of a ring.
type echoRing struct {
	tx *sharedring.Sender[byte]
	rx *sharedring.Receiver[byte]
}

func openEchoRing(opts ...sharedring.Option) func(int) (echoer, error) {
	opts = append(opts, trusting)
	return func(size int) (echoer, error) {
		tx, err := sharedring.NewSender[byte](EchoRing(size), opts...)
		if err != nil {
			return nil, err
		}
		h, err := tx.Handle()
		if err != nil {
			return nil, errors.Join(err, tx.Close())
		}
		rx, err := sharedring.OpenReceiver[byte](h, opts...)
		if err != nil {
			return nil, errors.Join(err, tx.Close())
		}
		return &echoRing{tx, rx}, nil
	}
}

// pass sends what fits and receives it, until all is there.
func (e *echoRing) pass(dst, src []byte) error {
	for len(src) > 0 {
		n, err := e.tx.Send(src[:min(len(src), echoRun)])
		if err != nil {
			return err
		}
		got, err := e.rx.Receive(dst[:n])
		if err != nil {
			return err
		}
		if got < n || n == 0 {
			return fmt.Errorf("%d of %d bytes came: %w", got, n, io.ErrNoProgress)
		}
		dst, src = dst[n:], src[n:]
	}
	return nil
}

func (e *echoRing) doorbells() uint64 { return e.tx.Doorbells() + e.rx.Doorbells() }

func (e *echoRing) close() error { return errors.Join(e.rx.Close(), e.tx.Close()) }

// echoSocket is a socket pair: the first is written, and does not block.
type echoSocket struct{ out, in int }

func openEchoSocket(int) (echoer, error) {
	out, in, err := roomyPair(true)
	if err != nil {
		return nil, err
	}
	return echoSocket{out, in}, nil
}

// pass writes what the socket takes without blocking and reads it, until all is there.
func (e echoSocket) pass(dst, src []byte) error {
	for len(src) > 0 {
		n, err := rawWrite(e.out, src)
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(fdReader(e.in), dst[:n]); err != nil {
			return err
		}
		dst, src = dst[n:], src[n:]
	}
	return nil
}

func (e echoSocket) close() error { return errors.Join(closeFD(e.in), closeFD(e.out)) }
