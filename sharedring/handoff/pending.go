package handoff

import (
	"net"
	"slices"
	"sync"
	"time"
)

// evictAfter is how long a client may keep the server waiting for its request when
// others want its place. An honest client sends it right after connecting, so only
// one that was not scheduled for so long suffers, and Dial tries again.
const evictAfter = 250 * time.Millisecond

// pending bounds the handshakes. Each holds a slot until the application accepts
// its connection or it fails. When no slot is free, a client that has been silent
// for a while loses its own: the oldest of the uid that has most of them, so that
// a uid that floods the server displaces itself first. If none is silent it is the
// application that is slow, and nobody is displaced.
type pending struct {
	slots chan struct{}

	mu     sync.Mutex
	silent []*silence // oldest first
	closed bool
}

// silence is a handshake that waits for the client's request.
type silence struct {
	sock        *net.UnixConn
	uid         uint32
	since       time.Time
	interrupted Reason
}

// acquire takes a slot. It reports false when closing was closed first.
func (p *pending) acquire(closing <-chan struct{}) bool {
	for {
		select {
		case p.slots <- struct{}{}:
			return true
		default:
		}
		var again <-chan time.Time // never, if nobody can be evicted
		if wait, ok := p.evict(time.Now()); ok && wait > 0 {
			again = time.After(wait)
		} else if !ok {
			again = time.After(evictAfter) // all are busy; one may fall silent
		}
		select {
		case p.slots <- struct{}{}:
			return true
		case <-again:
		case <-closing:
			return false
		}
	}
}

func (p *pending) release() { <-p.slots }

// enter says that a handshake now waits for the client.
func (p *pending) enter(s *silence) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = append(p.silent, s)
	if p.closed {
		s.interrupt(ReasonClosing)
	}
}

// leave says that it no longer waits, and returns why it was interrupted, if it
// was.
func (p *pending) leave(s *silence) Reason {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.silent, s); i >= 0 {
		p.silent = slices.Delete(p.silent, i, i+1)
	}
	return s.interrupted
}

// evict interrupts one silent handshake, or returns how long it has to wait until
// it may. ok is false if there is none.
func (p *pending) evict(now time.Time) (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.victim()
	if i < 0 {
		return 0, false
	}
	s := p.silent[i]
	if wait := evictAfter - now.Sub(s.since); wait > 0 {
		return wait, true
	}
	p.silent = slices.Delete(p.silent, i, i+1)
	s.interrupt(ReasonBusy)
	return 0, true
}

// victim returns the index of the oldest handshake of the uid that has most, or -1.
func (p *pending) victim() int {
	count := make(map[uint32]int)
	for _, s := range p.silent {
		count[s.uid]++
	}
	victim := -1
	for i, s := range p.silent {
		if victim < 0 || count[s.uid] > count[p.silent[victim].uid] {
			victim = i
		}
	}
	return victim
}

// closeAll interrupts all, and those that enter from now on.
func (p *pending) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, s := range p.silent {
		s.interrupt(ReasonClosing)
	}
}

// interrupt ends the read of the request. Closing the socket stays the business of
// the handshake's goroutine.
func (s *silence) interrupt(why Reason) {
	s.interrupted = why
	_ = s.sock.SetReadDeadline(longAgo)
}
