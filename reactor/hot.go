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
	if l.spin == 0 || l.byPoll {
		return false // a host that polls FD has to be told by a doorbell
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
	keep := l.hot[:0]
	for _, r := range l.hot {
		if l.staysHot(r) {
			keep = append(keep, r)
			continue
		}
		r.state.cool()
		l.queue.push(r)
	}
	clear(l.hot[len(keep):])
	l.hot = keep
}

func (l *Loop) staysHot(r *Registration) bool {
	if r.state.load() != phaseHot {
		return false // an edge, Pause, Resume or Close
	}
	switch {
	case l.hasWork(r):
		r.penalty = 0
		return false
	case l.now-r.dry < l.spin:
		return true
	}
	r.penalty = min(2*r.penalty+1, maxPenalty)
	r.skip = r.penalty
	r.cooling = true // its turn is to be armed, without a call of Ready
	return false
}

// hasWork asks the source. Errors and panics are left to the turn that follows,
// which meets them again.
func (l *Loop) hasWork(r *Registration) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = true
		}
	}()
	more, err := r.source.Pending()
	return more || err != nil
}

// skipLook says whether the loop may go without asking the kernel this time.
func (l *Loop) skipLook() bool {
	return l.spin > 0 && !l.byPoll && l.busy() && l.now-l.looked < lookEvery
}

func (l *Loop) busy() bool { return l.queue.len() > 0 || len(l.hot) > 0 }
