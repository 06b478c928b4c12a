package reactor

import (
	"runtime"
	"time"
)

// A loop that is rung for many thousand times a second, for a message or two, pays more
// for its waits than for its work, and each peer pays for a doorbell. Such a loop
// naps: it sleeps for a fixed time, in which doorbells wake nobody, and then looks
// at all that has come. It is what network drivers do when they defer interrupts.
// Rings with a message every few naps stay hot, so nobody rings for them; the others
// are armed, because to ask a thousand rings after each nap costs more than a hundred
// edges.

const (
	defaultNap = 50 * time.Microsecond
	maxNap     = time.Millisecond

	// napWindow is the time over which the loop judges whether to nap.
	napWindow = 5 * time.Millisecond
	// napAbove edges a second the loop begins to nap, and below napBelow turns a
	// second it stops: then it would mostly wake for nothing.
	napAbove = 10_000
	napBelow = 5_000

	// warmNaps is for how many naps a dry ring stays hot: to ask it that often costs
	// about as much as an edge.
	warmNaps = 40

	// napGathers is how many turns a nap that brings any has to bring, on average, to be
	// worth its latency: requests of a client that waits for each answer come one by one.
	// Naps that bring none do not count, because peers may just not have run.
	napGathers = 4

	// minBar and maxBar bound how long the loop does not nap after a try that did not
	// pay: longer from try to try.
	minBar = 100 * time.Millisecond
	maxBar = 10 * time.Second

	// yieldEvery is how often a napping loop, which keeps its processor in a nap, lets
	// other goroutines have it. To do so each time costs as much as the nap.
	yieldEvery = time.Millisecond

	// sweepEvery is how often rings that are hot but dry are asked while others
	// have work.
	sweepEvery = 20 * time.Microsecond
)

// moderation is how a loop judges whether to nap. Of the loop's goroutine.
type moderation struct {
	napping bool
	barred  time.Duration // no naps until then
	bar     time.Duration // for how long that was; 0 after naps that paid
	since   time.Duration // begin of the window
	edges   int           // of rings, in this window
	turns   int           // turns of rings, in this window
	brought int           // naps that brought turns, in this window
	told    int           // turns when that was last counted
}

// countNap is called before each nap, about what came after the one before.
func (m *moderation) countNap() {
	if m.turns > m.told {
		m.told = m.turns
		m.brought++
	}
}

// takeNap is a nap. It ends by itself.
func (l *Loop) takeNap() {
	l.moderation.countNap()
	if l.now-l.yielded > yieldEvery {
		runtime.Gosched()
		l.yielded = l.now
	}
	sleep(l.nap)
}

// bells is what a Source may have beside its duties; both ends of a ring do: how
// often it has rung its peer.
type bells interface{ Doorbells() uint64 }

// ringTurn calls Ready for a ring. A bell in a turn after a nap means that the peer
// had to wait for room: the nap was too long.
func (l *Loop) ringTurn(r *Registration, ev Event) error {
	m := &l.moderation
	m.turns++
	if !m.napping || r.bells == nil {
		return r.handler.Ready(ev)
	}
	before := r.bells.Doorbells()
	err := r.handler.Ready(ev)
	if r.bells.Doorbells() != before {
		l.barNaps()
	}
	return err
}

// moderate begins or ends napping, once a window.
func (l *Loop) moderate() {
	m := &l.moderation
	elapsed := l.now - m.since
	if elapsed < napWindow {
		return
	}
	if m.napping {
		l.judgeNaps(elapsed)
	} else {
		m.napping = l.nap > 0 && !l.told() && l.now >= m.barred && rate(m.edges, elapsed) >= napAbove
	}
	m.since, m.edges, m.turns, m.brought, m.told = l.now, 0, 0, 0, 0
}

// judgeNaps is moderate in a napping loop.
func (l *Loop) judgeNaps(elapsed time.Duration) {
	m := &l.moderation
	switch {
	case m.turns < napGathers*m.brought:
		l.barNaps()
	case rate(m.turns, elapsed) < napBelow:
		m.napping = false
	default:
		m.bar = 0
	}
}

// barNaps ends napping for a while.
func (l *Loop) barNaps() {
	m := &l.moderation
	m.bar = min(max(2*m.bar, minBar), maxBar)
	m.napping, m.barred = false, l.now+m.bar
}

func rate(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }

// patience is how long a ring may be dry before it is put to sleep.
func (l *Loop) patience() time.Duration {
	if l.moderation.napping {
		return warmNaps * 2 * l.nap // the kernel makes a nap about twice as long
	}
	return l.spin
}
