package reactor

import (
	"errors"
	"io"
	"runtime/debug"
	"time"
)

// verdict is the outcome of a turn.
type verdict struct {
	more bool // another turn is due
	hot  bool // nothing now, but worth polling
	err  error
}

// clockEvery is how many turns of rings go by between two looks at the clock.
const clockEvery = 8

// round gives a turn to each registration that is queued now; those that come
// meanwhile wait for the next round. Descriptors go first. Rings, of which there can
// be thousands with work, have lookEvery; then descriptors are looked at again.
func (l *Loop) round() {
	for n := l.urgent.len(); n > 0 && !l.closed.Load(); n-- {
		l.service(l.urgent.pop())
	}
	n := l.queue.len()
	if n <= clockEvery {
		l.serviceRings(n)
		return
	}
	for start := time.Since(l.start); n > 0; n -= clockEvery {
		l.serviceRings(min(n, clockEvery))
		if time.Since(l.start)-start > lookEvery {
			return
		}
	}
}

func (l *Loop) serviceRings(n int) {
	for ; n > 0 && !l.closed.Load(); n-- {
		l.service(l.queue.pop())
	}
}

// push puts r at the tail of its queue.
func (l *Loop) push(r *Registration) {
	if r.source == nil {
		l.urgent.push(r)
	} else {
		l.queue.push(r)
	}
}

// due says whether a registration waits for its turn.
func (l *Loop) due() bool { return l.queue.len() > 0 || l.urgent.len() > 0 }

// service gives r one turn. The rest is deferred, because a callback that calls
// runtime.Goexit (as testing.T.FailNow does) must not leave r running for ever.
func (l *Loop) service(r *Registration) {
	if !r.state.begin() {
		return
	}
	out := verdict{err: ErrGoexit}
	defer l.settle(r, &out)
	l.turn(r, &out)
}

// turn calls Ready and asks what comes next. It catches panics.
func (l *Loop) turn(r *Registration, out *verdict) {
	defer func() {
		if v := recover(); v != nil {
			out.err = l.caught("Ready", v)
		}
	}()
	if r.cooling {
		r.cooling = false
	} else if err := l.ready(r); err != nil {
		out.err = err
		return
	}
	*out = l.after(r)
}

// ready calls Ready, if that is still wanted.
func (l *Loop) ready(r *Registration) error {
	if r.state.load()&(flagPaused|flagClosed) != 0 {
		return nil
	}
	ev := Event(r.events.Swap(0))
	if r.source != nil {
		ev |= eventReadable
	}
	if ev == 0 {
		return nil // its edge was forgotten by Resume; the kernel tells it anew
	}
	l.ran++
	l.stats.services.Add(1)
	r.services.Add(1)
	if r.source == nil {
		return r.handler.Ready(ev)
	}
	return l.ringTurn(r, ev)
}

// after says what comes next for r. A ring that is dry is polled for a while or
// armed, the latter in a pause too: it is about to sleep, and its peer needs the
// room.
func (l *Loop) after(r *Registration) (v verdict) {
	word := r.state.load()
	switch {
	case r.source == nil: // the kernel tells
	case word&flagClosed != 0: // the owner may have closed the ring already
	case word&flagPaused != 0:
		v.more, v.err = r.source.Arm()
	case word&flagAgain != 0:
		v.more = true
	default:
		if v.more, v.err = r.source.Pending(); v.more || v.err != nil {
			return v
		}
		if v.hot = l.heats(r); !v.hot {
			v.more, v.err = r.source.Arm()
		}
	}
	return v
}

// settle draws the conclusion from a turn.
func (l *Loop) settle(r *Registration, out *verdict) {
	if out.err != nil {
		l.end(r, out.err)
		return
	}
	if out.hot && r.state.heat() {
		r.dry = l.now
		l.hot = append(l.hot, r)
		return
	}
	// A ring that was to be hot but is not has something to look at.
	l.finish(r, out.more || out.hot)
}

func (l *Loop) finish(r *Registration, more bool) {
	requeue, closed := r.state.finish(more)
	if requeue {
		l.push(r)
	}
	if closed {
		l.mu.Lock()
		l.settled.Broadcast() // to those who wait in Close
		l.mu.Unlock()
	}
}

// end ends r for cause, unless its owner closed it first, and tells Closed. The
// descriptor is out of the epoll set by then, so Closed may close it.
func (l *Loop) end(r *Registration, cause error) {
	defer l.finish(r, false)
	l.mu.Lock()
	mine := r.state.seize()
	if mine {
		// It fails only for a descriptor that was closed too early, and then
		// there is nothing that Closed could do about it.
		_ = l.retire(r)
	}
	l.mu.Unlock()
	if !mine {
		return
	}
	l.stats.ended.Add(1)
	l.logEnd(r, cause)
	if r.handler.Closed == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			_ = l.caught("Closed", v)
		}
	}()
	l.ran++
	r.handler.Closed(cause)
}

// logEnd leaves out what is logged elsewhere, and ends that nobody has to look into.
func (l *Loop) logEnd(r *Registration, cause error) {
	var panicked *PanicError
	if errors.As(cause, &panicked) || errors.Is(cause, ErrClosed) || errors.Is(cause, io.EOF) {
		return
	}
	l.log.Warn("reactor: registration ended", "descriptor", r.fd, "error", cause)
}

// caught reports a panic of a callback.
func (l *Loop) caught(callback string, value any) error {
	l.stats.panics.Add(1)
	err := &PanicError{Value: value, Stack: debug.Stack()}
	l.log.Error("reactor: callback panicked", "callback", callback, "panic", value, "stack", string(err.Stack))
	return err
}
