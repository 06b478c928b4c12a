package scenario

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/shmloop/shmloop/stress/harness"
)

// A load is what the consumer of a fan-in is fed with: some producer processes, each
// with its part of the rings or connections.

// loadPeers are the producer processes of fanin, idle, mixed and chaos.
func loadPeers() map[string]harness.Peer {
	return map[string]harness.Peer{
		ringPeer:    ringProducer,
		socketPeer:  socketProducer,
		idlePeer:    speak,
		clientPeer:  askSockets,
		burnerPeer:  burner,
		honestPeer:  honest,
		hostilePeer: hostile,
	}
}

// record is a message of 64 bytes.
type record struct {
	Sequence uint64 // within its ring or connection, from 0
	Due      int64  // when it was to be sent, Unix nanoseconds
	Payload  [48]byte
}

const recordSize = 64

// put writes r to b, as it travels on a socket. The payload is the same each time.
func (r *record) put(b []byte) {
	binary.NativeEndian.PutUint64(b, r.Sequence)
	binary.NativeEndian.PutUint64(b[8:], uint64(r.Due))
}

// sequenceOf and dueOf are the fields of a record that travelled on a socket.
func sequenceOf(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }

func dueOf(b []byte) int64 { return int64(binary.NativeEndian.Uint64(b[8:])) }

// otherSizes sit a scenario of records out.
func otherSizes(p harness.Params) string {
	if p.Size != recordSize {
		return fmt.Sprintf("messages have %d bytes here", recordSize)
	}
	return ""
}

func now() int64 { return time.Now().UnixNano() }

// share returns how many of n things part i of parts gets.
func share(n, parts, i int) int {
	if i < n%parts {
		return n/parts + 1
	}
	return n / parts
}

// outlet is where a producer sends: a ring or a connection.
type outlet interface {
	// offer sends r if there is room.
	offer(r *record) (sent bool, err error)
	// force sends r, and waits for room.
	force(ctx context.Context, r *record) error
	// flush sends what a buffer holds back.
	flush(ctx context.Context) error
}

// producer sends until ctx ends, in a process of its own.
type producer struct {
	outlets []outlet
	next    []record // for each outlet
	pace    pace
	sent    uint64
	stopped atomic.Bool
}

// runProducer is what producer processes do. They use one processor: the others are
// for the consumer.
func runProducer(ctx context.Context, p harness.Params, index int, outlets []outlet) error {
	runtime.GOMAXPROCS(1)
	pr := &producer{outlets: outlets, next: make([]record, len(outlets)), pace: newPace(p, index)}
	defer context.AfterFunc(ctx, func() { pr.stopped.Store(true) })()
	fmt.Println("ready")
	if err := pr.produce(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	fmt.Println(pr.sent)
	return nil
}

func (p *producer) produce(ctx context.Context) error {
	switch {
	case len(p.outlets) == 0: // more producers than rings
		<-ctx.Done()
		return nil
	case p.pace.period > 0:
		return p.paced(ctx)
	default:
		return p.flatOut(ctx)
	}
}

// flatOut sends one record to each outlet in turn and passes by those that are full.
// When all are it waits for one of them, each time for another.
func (p *producer) flatOut(ctx context.Context) error {
	for waits := 0; !p.stopped.Load(); {
		before := p.sent
		for i, o := range p.outlets {
			ok, err := o.offer(&p.next[i])
			if err != nil {
				return err
			}
			if ok {
				p.next[i].Sequence++
				p.sent++
			}
		}
		if p.sent > before {
			continue
		}
		waits++
		if err := p.force(ctx, waits%len(p.outlets)); err != nil {
			return err
		}
	}
	for _, o := range p.outlets {
		if err := o.flush(context.Background()); err != nil {
			return err
		}
	}
	return nil
}

// paced sends to the outlets in turn, each record at its time. What is late keeps
// that time: that is latency.
func (p *producer) paced(ctx context.Context) error {
	if !p.pace.spin {
		exactNaps()
	}
	due := now() + int64(p.pace.offset)
	for n := 0; ; n++ {
		p.pace.wait(due)
		if p.stopped.Load() {
			return nil
		}
		i := n % len(p.outlets)
		p.next[i].Due = due
		if err := p.force(ctx, i); err != nil {
			return err
		}
		due += int64(p.pace.period)
	}
}

func (p *producer) force(ctx context.Context, i int) error {
	if err := p.outlets[i].force(ctx, &p.next[i]); err != nil {
		return err
	}
	p.next[i].Sequence++
	p.sent++
	return nil
}

// pace is when a producer sends.
type pace struct {
	period time.Duration // 0: flat out
	offset time.Duration // of the first record: producers do not send all at once
	spin   bool
}

// newPace is for producer number index. A producer that can have a processor for
// itself spins until the time has come, so that it is exact and the processor awake.
// More producers than that would keep the consumer from running, and sleep.
func newPace(p harness.Params, index int) pace {
	if p.Rate == 0 {
		return pace{}
	}
	producers := max(p.Producers, 1) // no number: the one
	period := time.Duration(producers) * time.Second / time.Duration(p.Rate)
	return pace{
		period: max(period, 1),
		offset: period * time.Duration(index) / time.Duration(producers),
		spin:   producers < runtime.NumCPU(),
	}
}

// wait returns at due.
func (p pace) wait(due int64) {
	for {
		left := due - now()
		if left <= 0 {
			return
		}
		if !p.spin {
			nap(time.Duration(left))
		}
	}
}

// load is the producers, as the consumer sees them.
type load struct{ peers []*harness.PeerProcess }

// startLoad starts p.Producers peers of that name. files are those for the peer with
// that index, and closed here.
func startLoad(ctx context.Context, name string, p harness.Params, files func(i int) ([]*os.File, error), args ...string) (*load, error) {
	l := &load{}
	for i := range p.Producers {
		if err := l.start(ctx, name, p, i, files, args); err != nil {
			l.kill()
			return nil, fmt.Errorf("start producer %d: %w", i, err)
		}
	}
	return l, nil
}

// ready returns when all producers send.
func (l *load) ready() error {
	for i, peer := range l.peers {
		if line, err := peer.Stdout.ReadString('\n'); err != nil {
			return fmt.Errorf("producer %d is not ready: %q: %w", i, line, err)
		}
	}
	return nil
}

func (l *load) start(ctx context.Context, name string, p harness.Params, i int, files func(i int) ([]*os.File, error), args []string) (err error) {
	var inherited []*os.File
	defer func() {
		for _, f := range inherited {
			err = errors.Join(err, f.Close())
		}
	}()
	if files != nil {
		if inherited, err = files(i); err != nil {
			return err
		}
	}
	peer, err := harness.StartPeer(ctx, name, p, inherited, append([]string{fmt.Sprint(i)}, args...)...)
	if err == nil {
		l.peers = append(l.peers, peer)
	}
	return err
}

// stop has the producers stop, and returns how many records they have sent. The
// consumer has to go on until then.
func (l *load) stop() (sent uint64, err error) {
	for _, peer := range l.peers {
		_ = peer.Stdin.Close() // all at once; it fails if the harness did so
	}
	for i, peer := range l.peers {
		var n uint64
		if e := peer.Stop(); e != nil {
			err = errors.Join(err, e)
		} else if _, e := fmt.Fscan(peer.Stdout, &n); e != nil {
			err = errors.Join(err, fmt.Errorf("what producer %d has sent: %w", i, e))
		}
		sent += n
	}
	return sent, err
}

// kill is for a block that failed.
func (l *load) kill() {
	for _, peer := range l.peers {
		_ = peer.Signal(os.Kill) // fails if it has ended
		_ = peer.Stop()          // says "killed"
	}
}
