package gnetring

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/shmloop/shmloop/reactor"
)

// An enrolment is a connection that this package gives to gnet. It is the context of
// the gnet.Conn, which tells it from connections of the user's.
type enrolment struct {
	enrolled
	open atomic.Bool // OnOpen was called
}

// enrolled is who the connection is for. Its methods run on gnet's event loop, but
// failed.
type enrolled interface {
	opened(c gnet.Conn) gnet.Action
	readable(n int)   // n bytes were read, and dropped
	closed(err error) // nil if gnet or this side closed it
	failed(err error) // in place of the others
}

// enrol gives conn, which it owns, to gnet by way of submit.
//
// The result is waited for on a goroutine of its own: only the event loop can bring it
// about, so whoever waits there waits for ever.
func (x *Rings) enrol(conn net.Conn, e enrolled, submit func(context.Context) (<-chan gnet.RegisteredResult, error)) error {
	if !x.flights.begin() {
		return errors.Join(reactor.ErrClosed, conn.Close())
	}
	it := &enrolment{enrolled: e}
	results, err := submit(gnet.NewContext(context.Background(), it))
	if err != nil {
		x.flights.end()
		return errors.Join(fmt.Errorf("%w: %w", ErrNotEnrolled, err), conn.Close())
	}
	go func() {
		defer x.flights.end()
		r := <-results
		it.settle(r.Err)
	}()
	return nil
}

// settle looks at the outcome. gnet drops the error of epoll_ctl and returns a
// connection all the same, so only OnOpen, which comes before, proves that it worked.
func (e *enrolment) settle(err error) {
	switch {
	case err != nil:
		e.failed(fmt.Errorf("gnetring: %w: %w", ErrNotEnrolled, err))
	case !e.open.Load():
		e.failed(fmt.Errorf("gnetring: %w: its epoll did not take it", ErrNotEnrolled))
	}
}

// stopGrace is how long an engine that stops waits for enrolments that are under way.
// They need a turn of their event loop or two. A loop that failed by itself gives none.
const stopGrace = 5 * time.Second

// flights counts enrolments under way. One that is under way when its event loop ends is
// lost in gnet, with a descriptor and a goroutine: so an engine that stops waits for
// them.
type flights struct {
	mu       sync.Mutex
	n        int
	grounded bool
	landed   chan struct{} // closed at 0 when grounded
}

// begin is false if the engine stops.
func (f *flights) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.grounded {
		return false
	}
	f.n++
	return true
}

func (f *flights) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	if f.n == 0 && f.grounded {
		close(f.landed)
	}
}

// allow lets enrolments begin again.
func (f *flights) allow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grounded = false
}

// ground lets no other begin, and waits for those that have.
func (f *flights) ground() {
	f.mu.Lock()
	f.grounded, f.landed = true, make(chan struct{})
	landed, n := f.landed, f.n
	f.mu.Unlock()
	if n == 0 {
		return
	}
	timeout := time.NewTimer(stopGrace)
	defer timeout.Stop()
	select {
	case <-landed:
	case <-timeout.C:
	}
}

func (f *flights) stopping() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.grounded
}

func (f *flights) any() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n > 0
}
