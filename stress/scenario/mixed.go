package scenario

import (
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/stress/harness"
)

// Names of the processes that mixed starts.
const (
	clientPeer = "mixed-client"
	burnerPeer = "mixed-burner"
)

// mixedTurn is how many messages of a ring are taken in its turn: some 10 us of work,
// during which nobody else is served.
const mixedTurn = 16

// mixedSockets is how many connections the client uses in turn.
const mixedSockets = 4

// mixed shows what sockets suffer from rings that keep their loop busy.
func mixed() harness.Scenario {
	return harness.Scenario{
		Name: "mixed",
		About: "One reactor.Loop serves unix sockets and rings. A client process sends a request of 64 bytes on one of 4 sockets " +
			"in turn, each at its time (-rate, in all), and waits for the echo. Beside them producer processes feed -rings rings flat out, and the " +
			"handler of a ring hashes each message (SHA-512, about half a microsecond), so that the loop is what limits them: it is never idle, the rings are mostly full, and " +
			"a producer mostly waits for room, which leaves the client processor time. Messages and latencies are those of the " +
			"sockets, from the time at which a request was due to its echo; consumer CPU times messages/s is how busy the loop is. " +
			"What the machine itself adds when others want its processors is what sockets-beside-burners shows: the sockets alone, beside " +
			"processes that burn CPU, as many as there are producers and of the same priority.",
		Sizes:    []int{recordSize},
		Defaults: harness.Params{Rings: 64, Producers: 1, Rate: 2000, Duration: 3 * time.Second},
		Quick:    harness.Params{Duration: 800 * time.Millisecond},
		Paced:    true,
		Columns:  []harness.Metric{harness.P50, harness.P99, harness.P999, harness.MessagesPerSecond, harness.ConsumerCPU, harness.ProducerCPU},
		Headline: []harness.Metric{harness.P50, harness.P99, harness.P999},
		Arms: []harness.Arm{
			mixedArm("sockets-beside-rings", "sockets and saturated rings on the same loop", saturate),
			mixedArm("sockets-alone", "the same loop without rings", alone),
			mixedArm("sockets-beside-burners", "the same beside processes that burn CPU, one for each producer", burn),
		},
	}
}

// A neighbour starts what the sockets have beside them, on their loop or the machine.
type neighbour func(ctx context.Context, b *mixedBlock) error

func mixedArm(name, about string, beside neighbour) harness.Arm {
	return harness.Arm{Name: name, About: about, Ours: name == "sockets-beside-rings", Skip: mixedSkip,
		Block: func(ctx context.Context, p harness.Params) (harness.Result, error) {
			loop, err := reactor.NewLoop()
			if err != nil {
				return harness.Result{}, err
			}
			b := &mixedBlock{p: p, loop: loop, load: &load{}, rings: &ringSet{}, buf: make([]byte, recordSize+1), failed: make(chan error, 1)}
			defer b.close()
			return b.run(ctx, beside)
		}}
}

func mixedSkip(p harness.Params) string {
	if p.Rate == 0 {
		return "requests have to come at a -rate"
	}
	return otherSizes(p)
}

// mixedBlock is one block.
type mixedBlock struct {
	p      harness.Params
	loop   *reactor.Loop
	window *harness.Window
	checks [mixedSockets]harness.Check
	buf    []byte
	near   []int // sockets
	load   *load
	rings  *ringSet
	intake *intake // of the rings; nil: none
	digest [sha512.Size]byte
	failed chan error
}

func (b *mixedBlock) run(ctx context.Context, beside neighbour) (r harness.Result, err error) {
	if err := beside(ctx, b); err != nil {
		return r, err
	}
	b.window = harness.NewWindow(b.p, b.load.peers...)
	client, err := b.startClient(ctx)
	if err != nil {
		return r, err
	}
	s := runLoop(b.loop, b.failed)
	err = b.measure(ctx, s)
	err = errors.Join(err, client.Stop())
	sent, loadErr := b.load.stop()
	if err = errors.Join(err, loadErr); err == nil && b.intake != nil {
		b.intake.await(ctx, sent)
	}
	if err = errors.Join(err, s.stop()); err != nil {
		return r, err
	}
	return b.result(sent)
}

// close is for what s.stop does not.
func (b *mixedBlock) close() {
	_ = b.loop.Close() // once more, unless it never ran
	b.rings.close()
	for _, fd := range b.near {
		_ = closeFD(fd)
	}
}

func alone(context.Context, *mixedBlock) error { return nil }

// saturate puts rings on the loop, and more into them than it can take out.
func saturate(ctx context.Context, b *mixedBlock) error {
	p := b.p
	p.Rate = 0
	rs, l, err := startRings(ctx, p)
	if err != nil {
		return err
	}
	b.rings, b.load, b.intake = rs, l, newIntake(nil, p, false)
	return attachAll(b.loop, rs.rings, mixedTurn, b.takeRing, b.failed)
}

// takeRing does with messages from rings what a handler may do: it looks at all of
// them.
func (b *mixedBlock) takeRing(i int, batch []record) {
	b.intake.take(i, batch)
	for j := range batch {
		b.digest = sha512.Sum512(batch[j].Payload[:])
	}
}

// burn is a neighbour that has no rings.
func burn(ctx context.Context, b *mixedBlock) error {
	l, err := startLoad(ctx, burnerPeer, b.p, nil)
	if err == nil {
		b.load = l
	}
	return err
}

// burner is a process that wants a CPU, and nothing else.
func burner(ctx context.Context, _ harness.Params, _ []string) error {
	runtime.GOMAXPROCS(1)
	fmt.Println("ready")
	for ctx.Err() == nil {
	}
	fmt.Println(0) // records sent
	return nil
}

// startClient connects the sockets.
func (b *mixedBlock) startClient(ctx context.Context) (*harness.PeerProcess, error) {
	var files []*os.File
	for i := range mixedSockets {
		near, far, err := socketPair(true)
		if err != nil {
			return nil, errors.Join(err, closeFiles(files))
		}
		b.near = append(b.near, near)
		files = append(files, os.NewFile(uintptr(far), "client"))
		handler := reactor.Handler{
			Ready:  func(reactor.Event) error { return b.echo(near, i) },
			Closed: func(err error) { report(b.failed, err) },
		}
		if _, err := b.loop.Register(near, reactor.Readable, handler); err != nil {
			return nil, errors.Join(err, closeFiles(files))
		}
	}
	client, err := harness.StartPeer(ctx, clientPeer, b.p, files)
	return client, errors.Join(err, closeFiles(files))
}

// echo answers the request that socket i has. It carries how long the one before it
// took: so the latencies are in the books of this process, which has the window.
func (b *mixedBlock) echo(fd, i int) error {
	n, err := rawRead(fd, b.buf)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return nil
	case err != nil:
		return err
	case n == 0:
		return reactor.ErrClosed // the client has had enough
	case n != recordSize:
		return fmt.Errorf("a request of %d bytes", n)
	}
	b.checks[i].See(sequenceOf(b.buf))
	b.window.Add(1, recordSize)
	if took := dueOf(b.buf); took > 0 {
		b.window.Record(time.Duration(took))
	}
	if n, err = rawWrite(fd, b.buf[:recordSize]); err == nil && n != recordSize {
		err = fmt.Errorf("an echo of %d bytes", n)
	}
	return err
}

// askSockets is the process that sends requests.
func askSockets(ctx context.Context, p harness.Params, _ []string) error {
	exactNaps()
	pace := newPace(p, 0)
	pace.spin = false // the processors are wanted elsewhere
	request, answer := make([]byte, recordSize), make([]byte, recordSize)
	var r record
	for n, due := 0, now(); ctx.Err() == nil; n++ {
		pace.wait(due)
		fd := firstFile + n%mixedSockets
		r.Sequence = uint64(n / mixedSockets)
		r.put(request)
		if _, err := rawWrite(fd, request); err != nil {
			return err
		}
		if _, err := rawRead(fd, answer); err != nil {
			return err
		}
		if !bytes.Equal(request, answer) {
			return fmt.Errorf("echo %d of socket %d is not the request", r.Sequence, fd)
		}
		r.Due = now() - due
		due += int64(pace.period)
	}
	return nil
}

func (b *mixedBlock) measure(ctx context.Context, s *service) error {
	if err := b.load.ready(); err != nil {
		return err
	}
	b.window.Start(ctx)
	select {
	case <-b.window.Done():
		return nil
	case err := <-s.failed:
		return err
	}
}

// result is that of the sockets, and what went wrong on the rings.
func (b *mixedBlock) result(sent uint64) (harness.Result, error) {
	var checks []*harness.Check
	for i := range b.checks {
		checks = append(checks, &b.checks[i])
	}
	r, err := b.window.Result(checks...)
	if b.intake != nil {
		rings := b.intake.wrong(sent)
		r.Lost += rings.Lost
		r.Duplicated += rings.Duplicated
		r.Reordered += rings.Reordered
	}
	return r, err
}
