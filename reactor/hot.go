package reactor

import (
	"runtime"
	"time"
)

// A ring that ran dry is not put to sleep at once: to wake it costs its peer a
// system call and the loop an edge, and the next item may be on its way. While it
// is hot the loop asks it with plain loads, as a network driver polls a card that
// it keeps from interrupting. A ring that stays dry for as long as a wake-up costs
// is armed; one that stays dry time and again is armed without being polled.

// lookEvery is how long the loop may go without a look at its descriptors while
// rings keep it busy.
const lookEvery = 200 * time.Microsecond

// maxPenalty is how many dry spells in a row a ring sleeps through at once, at
// most, before polling it is tried again.
const maxPenalty = 63

// defaultSpin is how long to poll, or 0 where polling keeps the peers from running.
func defaultSpin() time.Duration {
	if min(runtime.GOMAXPROCS(0), runtime.NumCPU()) < 2 {
		return 0
	}
	return min(wakeCost(), maxSpin)
}

// heats says whether to poll r, which has just run dry.
func (l *Loop) heats(r *Registration) bool {
	switch {
	case l.told():
		return false
	case l.spin == 0 && !l.moderation.napping:
		return false
	}
	if r.skip > 0 {
		r.skip--
		return false
	}
	return true
}

// pollHot asks each hot ring once. Those with work, or dry for too long, go on the
// queue.
func (l *Loop) pollHot() {
	if len(l.hot) == 0 || l.queue.len() > 0 && l.now-l.swept < sweepEvery {
		return
	}
	l.swept = l.now
	l.sweeps.Add(1)
	defer l.endSweep()
	s := sweep{loop: l, patience: l.patience()}
	for s.next < len(l.hot) {
		s.run()
	}
	clear(l.hot[s.kept:])
	l.hot = l.hot[:s.kept]
}

// endSweep lets those go on who closed a registration meanwhile: the sweep may have
// been asking its ring, which is theirs from then on.
func (l *Loop) endSweep() {
	l.sweeps.Add(1)
	if l.closers.Load() > 0 {
		l.mu.Lock()
		l.settled.Broadcast()
		l.mu.Unlock()
	}
}

// awaitSweep waits for the end of a sweep that may not have seen that a registration
// is closed; later ones see it. It must not be called by the sweep itself.
func (l *Loop) awaitSweep() {
	l.closers.Add(1) // before the look: endSweep looks in the other order
	defer l.closers.Add(-1)
	l.mu.Lock()
	defer l.mu.Unlock()
	for now := l.sweeps.Load(); now%2 == 1 && l.sweeps.Load() == now; {
		l.settled.Wait()
	}
}

// sweep is one pass over the hot rings. Those that stay move to the front.
type sweep struct {
	loop       *Loop
	patience   time.Duration
	next, kept int
}

// run asks the rings from next on, to the end or to one whose source panics: that is
// left to the turn that follows, which meets it again. One recover for all of them
// keeps a look at a ring as cheap as it is.
func (s *sweep) run() {
	defer func() {
		if recover() != nil {
			s.loop.queueHot(s.loop.hot[s.next-1])
		}
	}()
	for hot := s.loop.hot; s.next < len(hot); {
		r := hot[s.next]
		s.next++
		if s.loop.staysHot(r, s.patience) {
			hot[s.kept] = r
			s.kept++
		} else {
			s.loop.queueHot(r)
		}
	}
}

func (l *Loop) queueHot(r *Registration) {
	r.state.cool()
	l.queue.push(r)
}

func (l *Loop) staysHot(r *Registration, patience time.Duration) bool {
	if r.state.load() != phaseHot {
		return false // an edge, Pause, Resume or Close
	}
	more, err := r.source.Pending()
	switch {
	case more || err != nil: // its turn will meet the error again
		r.penalty = 0
		return false
	case l.now-r.dry < patience:
		return true
	}
	r.penalty = min(2*r.penalty+1, maxPenalty)
	r.skip = r.penalty
	r.cooling = true // its turn is to be armed, without a call of Ready
	return false
}

// told says that a host waits for FD, and has to be told by a doorbell.
func (l *Loop) told() bool { return l.byPoll && l.host == nil }

// skipLook says whether the loop may go without asking the kernel this time.
func (l *Loop) skipLook() bool {
	return l.polls() && l.busy() && l.now-l.looked < lookEvery
}

// polls says whether this loop ever keeps rings hot.
func (l *Loop) polls() bool { return !l.byPoll && (l.spin > 0 || l.nap > 0) }

func (l *Loop) busy() bool { return l.due() || len(l.hot) > 0 }
