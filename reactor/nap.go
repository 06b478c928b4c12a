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

	// noNapAfterStall is how long the loop stays awake after a nap that was too long
	// for some ring.
	noNapAfterStall = 100 * time.Millisecond

	// sweepEvery is how often rings that are hot but dry are asked while others
	// have work.
	sweepEvery = 20 * time.Microsecond
)

// moderation is how a loop judges whether to nap. Of the loop's goroutine.
type moderation struct {
	napping bool
	barred  time.Duration // no naps until then
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
		m.napping, m.barred = false, l.now+noNapAfterStall
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
		m.napping = rate(m.turns, elapsed) >= napBelow
	} else {
		m.napping = l.nap > 0 && !l.byPoll && l.now >= m.barred && rate(m.wakes, elapsed) >= napAbove
	}
	m.since, m.wakes, m.turns = l.now, 0, 0
}

func rate(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }

// patience is how long a ring may be dry before it is put to sleep.
func (l *Loop) patience() time.Duration {
	if l.moderation.napping {
		return warmFor
	}
	return l.spin
}
