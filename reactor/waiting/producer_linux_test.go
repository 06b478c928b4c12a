package waiting

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/sharedring"
)

// item is a message of 64 bytes.
type item struct {
	Sequence uint64 // within its ring, from 0
	Due      int64  // when it was to be sent, Unix nanoseconds; 0: flat out
	Payload  [48]byte
}

// capacity is that of each ring: 16 KiB.
const capacity = 255

// load is what the producer is told to do, a line on its standard input.
type load struct {
	rings    int
	rate     int // messages/s in all, 0: flat out
	duration time.Duration
}

// sent is what it answers.
type sent struct {
	messages, doorbells uint64
	cpu                 time.Duration
}

// producer holds one sender for each ring. It is the other process, on one
// processor: the second one of a small machine is the consumer's.
type producer struct {
	senders []*sharedring.Sender[item]
	next    []uint64 // sequence numbers
}

func producerRole(args []string) int {
	runtime.GOMAXPROCS(1)
	if err := produce(args); err != nil {
		fmt.Fprintf(os.Stderr, "producer: %v\n", err)
		return 1
	}
	return 0
}

func produce(args []string) error {
	rings, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	p := &producer{next: make([]uint64, rings)}
	for fd := 3; len(p.senders) < rings; fd += 3 {
		tx, err := sharedring.OpenSender[item](sharedring.Handle{Capacity: capacity, ItemSize: 64, Memory: fd, EmptySignal: fd + 1, FullSignal: fd + 2})
		if err != nil {
			return err
		}
		p.senders = append(p.senders, tx)
	}
	for lines := bufio.NewReader(os.Stdin); ; {
		var l load
		if _, err := fmt.Fscanln(lines, &l.rings, &l.rate, &l.duration); err != nil {
			return nil // the benchmark is over
		}
		before := p.sent()
		if err := p.send(l); err != nil {
			return err
		}
		after := p.sent()
		fmt.Println(after.messages-before.messages, after.doorbells-before.doorbells, int64(after.cpu-before.cpu))
	}
}

func (p *producer) sent() (s sent) {
	for i, tx := range p.senders {
		s.messages += p.next[i]
		s.doorbells += tx.Doorbells()
	}
	s.cpu = usage().cpu
	return s
}

func (p *producer) send(l load) error {
	if l.rate > 0 {
		return p.paced(l)
	}
	return p.flatOut(l)
}

// paced sends to the rings in turn. It spins between two messages, because a timer
// would send them in bursts. What is late keeps its time: that is latency.
func (p *producer) paced(l load) error {
	start, period := now(), int64(time.Second)/int64(l.rate)
	for n := range int64(l.duration) / period {
		due := start + n*period
		for now() < due {
		}
		if err := p.one(int(n)%l.rings, due); err != nil {
			return err
		}
	}
	return nil
}

// flatOut sends on all rings at once, a goroutine for each. They wait when their
// ring is full.
func (p *producer) flatOut(l load) error {
	var over atomic.Bool
	time.AfterFunc(l.duration, func() { over.Store(true) })
	errs := make([]error, l.rings)
	var wg sync.WaitGroup
	for i := range l.rings {
		wg.Go(func() {
			for !over.Load() && errs[i] == nil {
				errs[i] = p.one(i, 0)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (p *producer) one(ring int, due int64) error {
	message := [1]item{{Sequence: p.next[ring], Due: due}}
	p.next[ring]++
	_, err := p.senders[ring].SendContext(context.Background(), message[:])
	return err
}

func now() int64 { return time.Now().UnixNano() }

// used is what a process has cost so far.
type used struct {
	cpu      time.Duration
	switches int64
}

func usage() used {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // it cannot fail with these arguments
	}
	return used{time.Duration(u.Utime.Nano() + u.Stime.Nano()), int64(u.Nvcsw + u.Nivcsw)}
}
