package reactor

import "time"

// A loop that is woken many thousand times a second for a message or two pays more
// for its sleep than for its work, and each peer pays for a doorbell. Such a loop
// naps: rings that had something lately stay hot, so nobody rings for them, and the
// loop asks them all after each nap. It is what network drivers do when they defer
// interrupts.

const (
	defaultNap = 50 * time.Microsecond

	// napWindow is the time over which the loop judges whether to nap.
	napWindow = 5 * time.Millisecond
	// napAbove wake-ups a second the loop begins to nap, and below napBelow turns a
	// second it stops: then it would mostly wake for nothing.
	napAbove = 10_000
	napBelow = 5_000

	// warmFor is how long a dry ring stays hot in a napping loop. To ask a ring
	// after each nap of 50 ms costs about as much as to be woken for it once.
	warmFor = 50 * time.Millisecond

	// napGathers is how many turns a nap has to gather, on average, to be worth its
	// latency: requests of a client that waits for each answer come one by one.
	napGathers = 4

	// napTrial is how long the loop naps before it judges that: at first its rings are
	// asleep, and the first item of each cuts a nap short.
	napTrial = warmFor / 2

	// minBar and maxBar bound how long the loop does not nap after a try that did not
	// pay: longer from try to try.
	minBar = 100 * time.Millisecond
	maxBar = 10 * time.Second

	// sweepEvery is how often rings that are hot but dry are asked while others
	// have work.
	sweepEvery = 20 * time.Microsecond
)

// moderation is how a loop judges whether to nap. Of the loop's goroutine.
type moderation struct {
	napping bool
	barred  time.Duration // no naps until then
	bar     time.Duration // for how long that was; 0 after naps that paid
	began   time.Duration // when it began to nap
	since   time.Duration // begin of the window
	wakes   int           // sleeps that ended, in this window
	turns   int           // turns of rings, in this window
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
		m.napping = l.nap > 0 && !l.byPoll && l.now >= m.barred && rate(m.wakes, elapsed) >= napAbove
		m.began = l.now
	}
	m.since, m.wakes, m.turns = l.now, 0, 0
}

// judgeNaps is moderate in a napping loop.
func (l *Loop) judgeNaps(elapsed time.Duration) {
	m := &l.moderation
	switch {
	case l.now-m.began < napTrial:
	case m.turns < napGathers*m.wakes:
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
		return warmFor
	}
	return l.spin
}
