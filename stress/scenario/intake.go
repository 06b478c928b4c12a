package scenario

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/shmloop/shmloop/stress/harness"
)

// intake is the books of a consumer. All arms of a scenario keep the same, so that
// their ways to receive are compared and nothing else.
type intake struct {
	flows []flow
	paced bool
}

// flow is one ring or connection. It belongs to the goroutine that receives from it.
type flow struct {
	check    harness.Check
	counter  *harness.Counter
	received atomic.Uint64 // to be read by others
	_        [8]byte       // flows of two goroutines share no cache line
}

// newIntake makes books of p.Rings flows, for a goroutine each or for one in all.
// Without a window they only check.
func newIntake(w *harness.Window, p harness.Params, goroutineEach bool) *intake {
	in := &intake{flows: make([]flow, p.Rings), paced: p.Rate > 0}
	for i := range in.flows {
		switch {
		case w == nil:
		case i == 0 || goroutineEach:
			in.flows[i].counter = w.NewCounter()
		default:
			in.flows[i].counter = in.flows[0].counter
		}
	}
	return in
}

// take enters a batch that came on flow i.
func (in *intake) take(i int, batch []record) {
	f := &in.flows[i]
	for j := range batch {
		f.check.See(batch[j].Sequence)
	}
	f.add(len(batch))
	if in.paced {
		at := now()
		for j := range batch {
			f.counter.Record(time.Duration(at - batch[j].Due))
		}
	}
}

// takeBytes is take for whole records as they came from a socket.
func (in *intake) takeBytes(i int, b []byte) {
	f := &in.flows[i]
	for rest := b; len(rest) > 0; rest = rest[recordSize:] {
		f.check.See(sequenceOf(rest))
	}
	f.add(len(b) / recordSize)
	if in.paced {
		at := now()
		for rest := b; len(rest) > 0; rest = rest[recordSize:] {
			f.counter.Record(time.Duration(at - dueOf(rest)))
		}
	}
}

func (f *flow) add(records int) {
	f.received.Store(f.received.Load() + uint64(records)) // no other goroutine writes
	if f.counter != nil {
		f.counter.Add(records, records*recordSize)
	}
}

// received is how many records came so far.
func (in *intake) received() (n uint64) {
	for i := range in.flows {
		n += in.flows[i].received.Load()
	}
	return n
}

// stall is how long nothing may come before what is missing is called lost.
const stall = 10 * time.Second

// await returns when n records have come, or no more come.
func (in *intake) await(ctx context.Context, n uint64) {
	last, since := uint64(0), time.Now()
	for ctx.Err() == nil && time.Since(since) < stall {
		switch got := in.received(); {
		case got >= n:
			return
		case got != last:
			last, since = got, time.Now()
		}
		time.Sleep(time.Millisecond)
	}
}

// wrong is what the checks found. Of the sent records those that did not come are
// lost. Nobody uses the flows any longer.
func (in *intake) wrong(sent uint64) (r harness.Result) {
	for i := range in.flows {
		c := &in.flows[i].check
		r.Lost += c.Lost
		r.Duplicated += c.Duplicated
		r.Reordered += c.Reordered
	}
	if distinct := in.received() - r.Duplicated; distinct+r.Lost < sent {
		r.Lost = sent - distinct // the last ones, after which no number came
	}
	return r
}

// result is what the window measured, and what is wrong.
func (in *intake) result(w *harness.Window, sent uint64) (harness.Result, error) {
	r, err := w.Result()
	wrong := in.wrong(sent)
	wrong.Metrics, wrong.Latency = r.Metrics, r.Latency
	if err == nil && in.received() == 0 {
		err = errors.New("no message came")
	}
	return wrong, err
}
