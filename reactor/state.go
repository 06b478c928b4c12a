package reactor

import "sync/atomic"

// state is the life of a registration in one word, so that one
// compare-and-swap decides who may touch the ring:
//
//	idle -> queued -> running -> idle
//	                     |-----> queued, at the tail: there is more to do
//	                     `-----> hot: polled for a while, then queued again
//
// Edges, Resume and Close come from anywhere. Only the loop takes the steps out
// of queued and running.
type state struct{ word atomic.Uint32 }

const (
	phaseIdle uint32 = iota
	phaseQueued
	phaseRunning
	phaseHot
	phaseMask uint32 = 3

	flagAgain  uint32 = 1 << 2 // look again: an edge while running, hot or paused
	flagPaused uint32 = 1 << 3 // no turn before Resume
	flagClosed uint32 = 1 << 4 // for good: no callback but the one that runs
)

func (s *state) load() uint32 { return s.word.Load() }

func (s *state) running() bool { return s.load()&phaseMask == phaseRunning }

// update replaces the word by what step makes of it.
func (s *state) update(step func(uint32) uint32) (before, after uint32) {
	for {
		before = s.word.Load()
		after = step(before)
		if s.word.CompareAndSwap(before, after) {
			return before, after
		}
	}
}

// wake asks for a turn. The caller has to push the registration on the queue if
// it returns true. A wake that comes while running, hot or paused is remembered:
// the peer may send no other.
func (s *state) wake() (push bool) {
	before, after := s.update(func(w uint32) uint32 {
		switch {
		case w&flagClosed != 0 || w&phaseMask == phaseQueued:
			return w
		case w&phaseMask != phaseIdle || w&flagPaused != 0:
			return w | flagAgain
		}
		return phaseQueued
	})
	return before&phaseMask == phaseIdle && after&phaseMask == phaseQueued
}

// begin takes a queued registration into its turn. It is false if the
// registration was closed meanwhile; then there is nothing to do.
func (s *state) begin() bool {
	before, _ := s.update(func(w uint32) uint32 {
		if w&flagClosed != 0 {
			return flagClosed // and idle
		}
		return w&flagPaused | phaseRunning
	})
	return before&flagClosed == 0
}

// finish ends a turn. The caller has to push the registration on the queue if
// requeue is true, and to wake those who wait in Close if closed is true.
func (s *state) finish(more bool) (requeue, closed bool) {
	_, after := s.update(func(w uint32) uint32 {
		switch {
		case w&flagClosed != 0:
			return flagClosed // and idle
		case w&flagPaused != 0:
			return flagPaused | flagAgain // and idle
		case more || w&flagAgain != 0:
			return phaseQueued
		}
		return phaseIdle
	})
	return after&phaseMask == phaseQueued, after&flagClosed != 0
}

// heat ends a turn of a ring that is to be polled. It is false if something came
// meanwhile that a plain end of the turn has to deal with.
func (s *state) heat() bool { return s.word.CompareAndSwap(phaseRunning, phaseHot) }

// cool gives a hot registration a turn. The caller has to push it on the queue.
func (s *state) cool() {
	s.update(func(w uint32) uint32 { return w&^phaseMask | phaseQueued })
}

// pause is true for the first of several calls.
func (s *state) pause() bool {
	before, after := s.update(func(w uint32) uint32 {
		if w&flagClosed != 0 {
			return w
		}
		return w | flagPaused
	})
	return before != after
}

// resume takes the pause back. It does not ask for a turn.
func (s *state) resume() {
	s.update(func(w uint32) uint32 {
		if w&phaseMask == phaseIdle {
			w &^= flagAgain
		}
		return w &^ flagPaused
	})
}

// close forbids further turns. It is true for the first of several calls.
func (s *state) close() bool { return s.word.Or(flagClosed)&flagClosed == 0 }

// seize is close by the loop itself, which has one more callback to run: the
// registration counts as running until finish.
func (s *state) seize() bool {
	before, _ := s.update(func(w uint32) uint32 {
		if w&flagClosed != 0 {
			return w
		}
		return flagClosed | phaseRunning
	})
	return before&flagClosed == 0
}
