package scenario

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/stress/harness"
)

// What the stream is made of. Arms elsewhere that are compared with these have the
// same.
const (
	StreamRing  = 512 << 10 // bytes of the ring
	ringBatch   = 16 << 10  // bytes of a ring that a buffered arm fills before it sends them
	StreamBatch = 64 << 10  // bytes that buffered arms gather, and that a consumer asks for at once if messages are smaller

	// StreamPeer is the producer. Its arguments are the name of an arm and "-1"; for
	// the arm ring it finds the memory, the empty-signal and the full-signal as
	// descriptors 3, 4 and 5. At its end it prints how many messages it sent and how
	// often it rang.
	StreamPeer = "stream"
)

func stream() harness.Scenario {
	s := harness.Scenario{
		Name: "stream",
		About: "A producer process sends messages of one size flat out, and a consumer process receives them. " +
			"Each message is sent by a call of its own, but in the buffered arms; the consumer takes all that is there, up to 64 KiB or one message, " +
			"and checks every sequence number. A message is copied into the ring, socket or pipe and out of it.",
		Sizes:    []int{64, 4 << 10, 64 << 10, 1 << 20},
		Defaults: harness.Params{Duration: time.Second},
		Quick:    harness.Params{Duration: 100 * time.Millisecond},
		Columns: []harness.Metric{harness.MessagesPerSecond, harness.BytesPerSecond, harness.ConsumerCPU, harness.ProducerCPU,
			harness.Doorbells, harness.Switches, harness.Allocs},
		Headline: []harness.Metric{harness.MessagesPerSecond, harness.ConsumerCPU, harness.ProducerCPU},
	}
	for _, l := range streamLinks {
		s.Arms = append(s.Arms, harness.Arm{Name: l.name, About: l.about, Ours: l.ours, Block: l.stream, Skip: l.skip})
	}
	return s
}

var streamLinks = []link{
	{
		name: "ring", ours: true,
		about: "a ring of bytes of 512 KiB, written and read as a stream (NewWriter, NewReader); a side that must wait polls some microseconds, then sleeps",
		open:  openStreamRing, dial: dialStreamRing(ringWrites),
	},
	{
		name: "ring-buffered", ours: true,
		about: "the same, messages gathered in 16 KiB of free space of the ring (Reserve), which are sent at once (Commit)",
		open:  openStreamRing, dial: dialStreamRing(ringGathers),
		skip: fillsBuffer("ring"),
	},
	{
		name:  "unix",
		about: "a unix stream socket pair with the send buffer that the system allows, up to 4 MiB; one write(2) a message, blocking calls on a thread of their own",
		open:  openUnix, dial: dialSocket,
	},
	{
		name:  "unix-buffered",
		about: "the same, messages gathered in a bufio.Writer of 64 KiB",
		open:  openUnix, dial: dialBuffered,
		skip: fillsBuffer("unix"),
	},
	{
		name:  "pipe",
		about: "a pipe of 1 MiB, one write(2) a message",
		open:  openPipe, dial: dialPipe,
	},
	{
		name:  "tcp",
		about: "a TCP connection over loopback with TCP_NODELAY, one write(2) a message",
		open:  openTCP, dial: dialSocket,
	},
	{
		name:  "copy",
		about: "no peer but a limit: two processes copy 64 KiB at a time through 1 MiB of shared memory, and spin",
		open:  newCopy, dial: openCopy, skip: notWholeParts,
	},
}

func openStreamRing(context.Context) (*end, []int, error) {
	rx, far, err := newByteRing(StreamRing)
	if err != nil {
		return nil, nil, err
	}
	return ringReads(rx), far, nil
}

func dialStreamRing(write func(context.Context, *sharedring.Sender[byte]) *end) func(context.Context) (*end, error) {
	return func(ctx context.Context) (*end, error) {
		tx, err := sharedring.OpenSender[byte](inherited(0, StreamRing), trusting)
		if err != nil {
			return nil, err
		}
		return write(ctx, tx), nil
	}
}

// fillsBuffer is why buffered arms sit large messages out.
func fillsBuffer(unbuffered string) func(harness.Params) string {
	return func(p harness.Params) string {
		if p.Size >= StreamBatch {
			return "a message fills the buffer: the same as " + unbuffered
		}
		return ""
	}
}

// stream is the consumer.
func (l link) stream(ctx context.Context, p harness.Params) (harness.Result, error) {
	if p.Size < minSize {
		return harness.Result{}, tooSmall(p)
	}
	in, producer, err := l.connect(ctx, p, StreamPeer)
	if err != nil {
		return harness.Result{}, err
	}
	return in.consume(ctx, p, producer)
}

// StreamReceive is the consumer of the arm ring, of which the producer was started. It
// closes rx. The producer sends messages that begin with their number, a u64 from 0,
// until its standard input ends, and then prints what StreamPeer does.
func StreamReceive(ctx context.Context, p harness.Params, rx *sharedring.Receiver[byte], producer *harness.PeerProcess) (harness.Result, error) {
	in := ringReads(rx)
	if err := ownThread(anyCPU); err != nil {
		return harness.Result{}, errors.Join(err, in.close())
	}
	in.endWith(ctx)
	return in.consume(ctx, p, producer)
}

// consume measures what comes until the producer has stopped, and closes the end.
func (in *end) consume(ctx context.Context, p harness.Params, producer *harness.PeerProcess) (_ harness.Result, err error) {
	defer func() { err = errors.Join(err, in.close()) }()
	w := harness.NewWindow(p, producer)
	in.count(w)
	w.Start(ctx)
	stopped := make(chan error, 1)
	go func() {
		<-w.Done()
		stopped <- producer.Stop()
		if in.hangUp != nil {
			in.hangUp()
		}
	}()
	var check harness.Check
	if err := drain(in, p.Size, w, &check); err != nil {
		return harness.Result{}, err
	}
	if err := <-stopped; err != nil {
		return harness.Result{}, err
	}
	var sent, doorbells uint64
	if _, err := fmt.Fscanln(producer.Stdout, &sent, &doorbells); err != nil {
		return harness.Result{}, fmt.Errorf("scenario: what the producer sent: %w", err)
	}
	check.Sent(sent)
	r, err := w.Result(&check)
	if err == nil && in.doorbells != nil && sent > 0 {
		r.Metrics[harness.Doorbells] += float64(doorbells) / float64(sent)
	}
	return r, err
}

// drain receives messages of size bytes until the stream ends.
func drain(r io.Reader, size int, w *harness.Window, check *harness.Check) error {
	buf := message(max(1, StreamBatch/size) * size)
	from, to := 0, 0 // what came and was not looked at; whole messages fit behind it
	for {
		n, err := r.Read(buf[to:])
		to += n
		first := from
		for ; to-from >= size; from += size {
			check.See(binary.NativeEndian.Uint64(buf[from:]))
		}
		w.Add((from-first)/size, from-first)
		if from == to {
			from, to = 0, 0
		}
		if err != nil {
			if over(err) {
				return nil
			}
			return fmt.Errorf("scenario: receive: %w", err)
		}
	}
}

// produce is the producer. It prints the messages sent and the doorbells rung.
func produce(ctx context.Context, p harness.Params, args []string) error {
	out, err := accept(ctx, streamLinks, args)
	if err != nil {
		return err
	}
	var stopped atomic.Bool
	context.AfterFunc(ctx, func() { stopped.Store(true) })
	m := message(p.Size)
	sent := uint64(0)
	for !stopped.Load() && err == nil {
		binary.NativeEndian.PutUint64(m, sent)
		if _, err = out.Write(m); err == nil {
			sent++
		}
	}
	if out.flush != nil {
		err = errors.Join(err, out.flush())
	}
	fmt.Println(sent, out.rung())
	if over(err) {
		err = nil
	}
	return errors.Join(err, out.close())
}
