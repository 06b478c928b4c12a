package epoll

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmloop/shmloop/reactor"
)

// maxTurn is for how long a Turn begins rounds. A look at the host's descriptors costs
// less than 1 us, so more often would cost little, and less often gain little.
const maxTurn = 100 * time.Microsecond

// Direct services rings with each doorbell in the host's own epoll set. Rings that were
// busy a moment ago are polled for a while, as a reactor.Loop does it; see
// [reactor.WithSpin].
//
// Dispatch, Timeout and Turn belong to the goroutine of the host's loop. All callbacks
// run there, in Turn. All other methods may be called from any goroutine, also
// inside callbacks.
type Direct struct {
	guest  *reactor.Guest
	host   host
	due    bool // Turn has something to do; of the host's goroutine
	closed atomic.Bool

	release sync.Once
	err     error // of release
}

// NewDirect makes a Direct for the epoll set epfd, which is borrowed: it has to stay
// open until Close has returned. An epoll set has room for one Direct. It takes
// one descriptor, an eventfd, and is to be closed. On other systems than Linux the
// error matches errors.ErrUnsupported.
func NewDirect(epfd int, opts ...reactor.Option) (*Direct, error) {
	h, err := newHost(epfd)
	if err != nil {
		return nil, fmt.Errorf("epoll: new direct: %w", err)
	}
	g, err := reactor.NewGuest(h, opts...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: new direct: %w", err), h.close())
	}
	return &Direct{guest: g, host: h}, nil
}

// Attach lets the host's loop service one end of a ring, as [reactor.Loop.Attach] does.
// The doorbell goes into the host's epoll set: one that is there already is refused
// with an error that matches reactor.ErrRegistered.
func (d *Direct) Attach(s reactor.Source, h reactor.Handler) (*reactor.Registration, error) {
	return d.guest.Attach(s, h)
}

// Post runs f on the host's goroutine, in one of the next Turns, as [reactor.Loop.Post]
// does.
func (d *Direct) Post(f func()) error { return d.guest.Post(f) }

// Stats returns the counters. Waits is always 0, because the host waits.
func (d *Direct) Stats() reactor.Stats { return d.guest.Stats() }

// Dispatch notes an event that epoll_wait returned, and is false if it is not one of
// this Direct. It calls nobody back. Late events, of a ring or a Direct that was closed
// since, do no harm.
func (d *Direct) Dispatch(ev *Event) (handled bool) {
	datum := datumOf(ev)
	if datum.tag() != DirectTag {
		return false
	}
	d.due = true
	if k := datum.token(); k != wakeToken {
		d.guest.Edge(k)
	}
	return true
}

// Timeout returns how many milliseconds epoll_wait may take: 0 while a Turn is due, else
// host, which is the host's own wish (-1: for ever).
func (d *Direct) Timeout(host int) int {
	if d.due {
		return 0
	}
	return host
}

// Turn gives the rings their turns and runs posts. The host calls it once after it has
// dealt with the events of an epoll_wait. It returns when nothing is due and no ring is
// polled any more, or else when its time is up, see the package comment: then
// Timeout is 0, so that the host only looks at its own descriptors before the next Turn.
//
// With nothing to do Turn costs nothing. It yields (runtime.Gosched) when Timeout lets the
// host sleep again.
//
// The error matches reactor.ErrClosed after Close, and reactor.ErrRunning if it is
// called inside a callback.
func (d *Direct) Turn() error {
	if !d.due && !d.closed.Load() {
		return nil
	}
	busy, err := d.guest.Turn(maxTurn)
	d.due = busy
	if errors.Is(err, reactor.ErrClosed) {
		_ = d.letGo() // Close tells of its error
	}
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	if !busy {
		// A goroutine that a callback made runnable would else wait until the runtime
		// takes the processor away from the thread that is in epoll_wait.
		runtime.Gosched()
	}
	return nil
}

// Close takes all that belongs to the Direct out of the host's epoll set. Posts that
// were accepted are run and all registrations get Closed(reactor.ErrClosed) before
// it returns: in a Turn that is running, else on the goroutine that calls Close, so
// call it on the host's. Called inside a callback it returns at once, and the rest is
// done at the end of that Turn.
//
// Close is idempotent. It must not be called with a lock held that a callback wants,
// and a callback must not wait for another goroutine that calls it.
func (d *Direct) Close() error {
	d.closed.Store(true)
	if err := d.guest.Close(); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	if d.guest.OnLoop() {
		return nil // Turn, or the Close that called us back, does the rest
	}
	return d.letGo()
}

// letGo must come after the last callback. It gives the same error again and again.
func (d *Direct) letGo() error {
	d.release.Do(func() {
		if err := d.host.close(); err != nil {
			d.err = fmt.Errorf("epoll: close: %w", err)
		}
	})
	return d.err
}
