package ringbuf_test

// The rules of one sender and one receiver on one ring, as a state machine of
// small integers. TestModel (model_test.go) runs every interleaving of it.
//
// A step is one access to something that others see: a load of count, a
// read-modify-write of count, the items of one part, a write to a doorbell, an
// edge of a doorbell, or the flag of a hang-up. Between two accesses a side works
// only on its own variables, which nobody else can see, so that work is folded
// into the access before it. Nothing else is folded: a side can be stopped
// between any two accesses for as long as the other likes.
//
// Where an end is free to choose (how many items, look or arm, ring now or after
// the next part), the model makes every choice, so an end that always chooses
// the same is covered too. Only a step that would change nothing is left out.

// maxLength bounds the modelled rings. The slots are an array, so that a state
// is comparable.
const maxLength = 5

// closing says how a run may end.
type closing uint8

const (
	closeNever  closing = iota // after the last item the sender only rests: no close can save a lost wake-up
	closeEither                // after the last item the sender closes; the receiver closes at any time, or never
)

func (c closing) String() string { return [...]string{"never", "either"}[c] }

// config is one ring with the habits of its two ends.
type config struct {
	length  uint8   // slots of the ring
	total   uint8   // items that the sender has
	hold    uint8   // items that an awake receiver keeps unreleased
	batch   uint8   // items above hold that make it release
	spare   bool    // an awake sender keeps one slot free
	partial bool    // the receiver may take less than there is, and its turn may end
	close   closing // who may end the run
	broken  broken  // at most one rule switched off
}

// broken are the rules, each of which hangs a ring when it is switched off.
type broken struct {
	trustOldLoad  bool  // receiver: all that was loaded is taken, so sleep without a new look
	oneSegment    bool  // receiver: one contiguous segment an edge, then sleep
	noRequeue     bool  // receiver: a spent turn sleeps, though items are left
	armUncompared bool  // receiver: release all and sleep, whatever was there before
	armHolding    bool  // receiver: count is what is held, so sleep and release nothing
	needItems     uint8 // receiver: sleep until so many items are there
	needFree      uint8 // sender: sleep until so many slots are free
}

// state is everything that a step may read or change.
type state struct {
	// Shared by both sides.
	count     uint8
	slots     [maxLength]uint8 // number of the item in each slot, from 1; 0 once it was released
	emptyEdge bool             // an edge of the empty-signal waits: edges are not counted, and nobody reads the doorbell
	fullEdge  bool             // an edge of the full-signal waits

	// Out of band: how far the hang-up of each side has come.
	senderTold   told
	receiverTold told

	tx sender
	rx receiver
}

type sender struct {
	at     senderStep
	sent   uint8 // items committed
	index  uint8
	known  uint8 // upper bound of count: behind our back it only falls
	part   uint8 // items written, not yet committed
	lifted bool  // the spare slot may be filled
	owes   bool  // the empty-signal is to be rung: before it sleeps or closes
}

type receiver struct {
	at    receiverStep
	got   uint8 // items taken
	index uint8
	known uint8 // lower bound of count, the held items among it: behind our back it only rises
	held  uint8 // items taken, not yet released
	owes  bool  // the full-signal is to be rung: before it sleeps
	heard bool  // its own copy of the hang-up flag
}

func (r receiver) available() uint8 { return r.known - r.held }

// told is the progress of a hang-up. The flag is stored before the side is
// woken: the other way round it could wake, see no flag and sleep again.
type told uint8

const (
	toldNothing told = iota
	toldFlag         // flag stored, sleeper not yet woken
	toldAll          // and woken
)

// senderStep names the next access of the sender.
type senderStep uint8

const (
	senderCalls   senderStep = iota // read the hang-up flag, then see what room is known
	senderLoads                     // load count: is there more room than was known?
	senderArms                      // lift the spare, load count, sleep only if it is full
	senderWrites                    // write the items of a part
	senderCommits                   // fetch_add
	senderCloses                    // end of the lifeline
	senderSleeps                    // wait for an edge of the full-signal
	senderRests                     // all sent, not closed
	senderEnded
)

func (s senderStep) String() string {
	return [...]string{"calls", "loads", "arms", "writes", "commits", "closes", "ASLEEP", "rests", "ended"}[s]
}

// receiverStep names the next access of the receiver.
type receiverStep uint8

const (
	receiverLooks    receiverStep = iota // read the hang-up flag: it must be older than the look at count
	receiverLoads                        // load count: anything new?
	receiverTakes                        // read items
	receiverReleases                     // fetch_sub of what is above the hold
	receiverArms                         // release all, or load, and sleep only on 0
	receiverQueued                       // turn spent with items left: at the tail of the loop's queue
	receiverSleeps                       // wait for an edge of the empty-signal
	receiverEnded
)

func (r receiverStep) String() string {
	return [...]string{"looks", "loads", "takes", "releases", "arms", "queued", "ASLEEP", "ended"}[r]
}

// transition is one step and the state after it.
type transition struct {
	action   string
	next     state
	fault    string // a broken promise of the ring itself: an item lost, a bound wrong
	optional bool   // nobody may count on this step: it rescues no hang
}

// steps appends to out every step that can be taken next.
func (c *config) steps(s state, out []transition) []transition {
	out = c.senderSteps(s, out)
	out = c.receiverSteps(s, out)
	return c.lifelineSteps(s, out)
}

// final reports whether all is done: the only states in which it is right that
// nobody has a step to take.
func (c *config) final(s state) bool {
	if c.close == closeNever {
		return s.tx.at == senderRests && s.rx.at == receiverSleeps && s.rx.got == c.total
	}
	return s.tx.at == senderEnded && s.rx.at == receiverEnded
}

// senderSteps are the steps of the sender: more than one where it may choose.
func (c *config) senderSteps(s state, out []transition) []transition {
	n := s // becomes the state after the step
	if s.tx.owes && s.tx.at != senderEnded {
		// A step of its own, after the commit: the receiver may have taken all before
		// the doorbell is written, and finds an edge and no item.
		n.emptyEdge, n.tx.owes = true, false
		out = append(out, transition{action: "sender: rings the empty-signal", next: n})
		n = s
	}

	switch s.tx.at {

	case senderCalls:
		if s.senderTold != toldNothing {
			n.tx.at = senderEnded
			return append(out, transition{action: "sender: sees the hang-up, ends", next: n})
		}
		if c.enough(s.tx) {
			n.tx.at = senderWrites
			return append(out, transition{action: "sender: no hang-up, knows of room", next: n})
		}
		n.tx.at = senderLoads
		out = append(out, transition{action: "sender: no hang-up, will load", next: n})
		n.tx.at = senderArms
		return append(out, transition{action: "sender: no hang-up, will arm", next: n})

	case senderLoads:
		return c.senderLoad(s, "sender: loads count", s.tx.lifted, senderArms, out)

	case senderArms:
		if s.fullEdge {
			// A loop may be told of an edge while its ring is awake. The edge is gone, so
			// there is one more look before sleep.
			n.fullEdge = false
			n.tx.at = senderCalls
			out = append(out, transition{action: "sender: meets an edge while awake", next: n})
		}
		// If the load finds the ring full, the next release finds it full too, and rings.
		return c.senderLoad(s, "sender: arms: lifts the spare, loads count", c.spare, senderSleeps, out)

	case senderWrites:
		if s.count < s.tx.known {
			// It may look again though it knows of room.
			out = c.senderLoad(s, "sender: loads count again", s.tx.lifted, senderArms, out)
		}
		// Nobody reads a part before its commit, and a slot that is free stays free
		// till then, so one step for the whole part misses nothing. A part may go on
		// beyond the wrap: a part for each segment is another of the choices.
		least, most := uint8(1), min(c.free(s.tx), c.total-s.tx.sent)
		if c.broken.needFree > 0 {
			least = min(c.broken.needFree, most)
		}
		for part := least; part <= most; part++ {
			n = s
			n.tx.part = part
			n.tx.at = senderCommits
			fault := ""
			for i := range part {
				slot := (s.tx.index + i) % c.length
				if s.slots[slot] != 0 {
					fault = "the sender overwrites an item that was not released"
				}
				n.slots[slot] = s.tx.sent + i + 1
			}
			out = append(out, transition{action: "sender: writes a part", next: n, fault: fault})
		}
		return out

	case senderCommits:
		before, part := s.count, s.tx.part
		n.count = before + part
		n.tx.known = n.count
		n.tx.sent += part
		n.tx.index = (s.tx.index + part) % c.length
		n.tx.part = 0
		n.tx.at = c.afterCommit(n.tx)
		action := "sender: commits"
		if before == 0 {
			action = "sender: commits, was empty: must ring"
			n.tx.owes = true
		}
		return append(out, transition{action: action, next: n, fault: c.senderCheck(s, part)})

	case senderCloses:
		if !s.tx.owes {
			n.tx.at = senderEnded
			out = append(out, transition{action: "sender: closes", next: n})
		}

	case senderSleeps:
		if s.fullEdge && !s.tx.owes {
			n.fullEdge = false
			n.tx.at = senderCalls
			out = append(out, transition{action: "sender: wakes", next: n})
		}
	}
	return out
}

// senderLoad is one load of count, with the spare lifted or not. If there is no
// room, full is the next step.
func (c *config) senderLoad(s state, action string, lifted bool, full senderStep, out []transition) []transition {
	n := s
	n.tx.known = s.count
	for {
		n.tx.lifted = lifted
		n.tx.at = full
		if c.enough(n.tx) {
			n.tx.at = senderWrites
		}
		out = append(out, transition{action: action, next: n, fault: c.senderCheck(s, 0)})
		// A load that shows room may bring the spare back, at once or later. Beside the
		// spare there must be some room, or Arm would be told of none on a ring that is
		// not full.
		if !lifted || c.length-s.count < 2 {
			return out
		}
		lifted = false
		action += ", keeps a spare again"
	}
}

// free is the room that the sender may fill by what it knows.
func (c *config) free(t sender) uint8 {
	free := c.length - t.known
	if c.spare && !t.lifted && free > 0 {
		free--
	}
	return free
}

// enough reports whether to write. Any room at all is enough: a part goes out
// however large the batch is.
func (c *config) enough(t sender) bool {
	return c.free(t) >= max(1, min(c.broken.needFree, c.total-t.sent))
}

func (c *config) afterCommit(t sender) senderStep {
	switch {
	case t.sent < c.total:
		return senderCalls
	case c.close == closeNever:
		return senderRests
	default:
		return senderCloses
	}
}

// senderCheck is what the sender requires of each value of count that it meets.
// A peer that keeps the rules never fails it.
func (c *config) senderCheck(s state, part uint8) string {
	if s.count > s.tx.known || s.count+part > c.length {
		return "the sender meets a count that it must refuse"
	}
	return ""
}

// receiverSteps are the steps of the receiver.
func (c *config) receiverSteps(s state, out []transition) []transition {
	n := s
	if s.rx.owes && s.rx.at != receiverEnded {
		n.fullEdge, n.rx.owes = true, false
		out = append(out, transition{action: "receiver: rings the full-signal", next: n})
		n = s
	}
	if c.close == closeEither && s.rx.at != receiverEnded {
		n.rx.at = receiverEnded
		out = append(out, transition{action: "receiver: closes", next: n, optional: true})
		n = s
	}

	switch s.rx.at {

	case receiverLooks:
		// The flag first and count after it: every item was committed before the
		// hang-up was told, so a count of 0 that is younger than the flag is the end.
		n.rx.heard = s.receiverTold != toldNothing
		n.rx.at = receiverLoads
		out = append(out, transition{action: "receiver: reads the hang-up flag, will load", next: n})
		n.rx.at = receiverArms
		return append(out, transition{action: "receiver: reads the hang-up flag, will arm", next: n})

	case receiverLoads:
		n.rx.known = s.count
		n.rx.at = c.afterLook(n.rx, receiverArms)
		return append(out, transition{action: "receiver: loads count", next: n, fault: c.receiverCheck(s, n)})

	case receiverTakes:
		if s.count > s.rx.known {
			n.rx.known = s.count
			out = append(out, transition{action: "receiver: loads count again", next: n, fault: c.receiverCheck(s, n)})
		}
		if s.rx.held > 0 {
			// It may release early: before a pause, or because time has passed.
			out = c.release(s, s.rx.held, "receiver: releases early", out)
		}
		return c.take(s, out)

	case receiverReleases:
		return c.release(s, s.rx.held-c.hold, "receiver: releases", out)

	case receiverArms:
		if s.emptyEdge {
			// As in senderArms.
			n.emptyEdge = false
			n.rx.at = receiverLooks
			out = append(out, transition{action: "receiver: meets an edge while awake", next: n})
		}
		return append(out, c.arm(s))

	case receiverQueued:
		n.rx.at = receiverLooks
		out = append(out, transition{action: "receiver: has its next turn", next: n})
		if s.emptyEdge {
			// The ring is queued already, so the edge is for nothing. A look follows.
			n.emptyEdge = false
			out = append(out, transition{action: "receiver: meets an edge while queued, has its next turn", next: n})
		}
		return out

	case receiverSleeps:
		if s.emptyEdge && !s.rx.owes {
			n.emptyEdge = false
			n.rx.at = receiverLooks
			out = append(out, transition{action: "receiver: wakes", next: n})
		}
	}
	return out
}

// take reads items. They stay unreleased, so nobody may write their slots, and
// one step for all of them misses nothing.
func (c *config) take(s state, out []transition) []transition {
	most := s.rx.available() // a copying receive goes on beyond the wrap
	least := min(most, c.length-s.rx.index)
	switch {
	case c.partial:
		least = 1
	case c.broken.oneSegment:
		most = least
	}
	for k := least; k <= most; k++ {
		n := s
		fault := ""
		for i := range k {
			if s.slots[(s.rx.index+i)%c.length] != s.rx.got+i+1 {
				fault = "the receiver takes an item that is not the next"
			}
		}
		n.rx.got += k
		n.rx.held += k
		n.rx.index = (s.rx.index + k) % c.length
		if n.rx.held >= c.hold+c.batch {
			n.rx.at = receiverReleases
			out = append(out, transition{action: "receiver: takes, will release", next: n, fault: fault})
			continue
		}
		for _, n.rx.at = range c.onward(n.rx) {
			out = append(out, transition{action: "receiver: takes, holds all", next: n, fault: fault})
		}
	}
	return out
}

// release is one fetch_sub while awake.
func (c *config) release(s state, items uint8, action string, out []transition) []transition {
	n := c.subtract(s, items)
	if n.rx.owes && !s.rx.owes {
		action += ", was full: must ring"
	}
	for _, n.rx.at = range c.onward(n.rx) {
		out = append(out, transition{action: action, next: n, fault: c.receiverCheck(s, n)})
	}
	return out
}

// arm is the last look before sleep. With items held it is the fetch_sub that
// gives them all back: the access that tells what was there is the one that
// leaves 0, so no commit fits between the two. With none held a load tells.
// Either way the next commit finds 0 and rings.
func (c *config) arm(s state) transition {
	if c.broken.armHolding && s.count == s.rx.held {
		s.rx.at = receiverSleeps
		return transition{action: "receiver: arms: only the held tail is there, sleeps on it", next: s}
	}
	n := s
	action := "receiver: arms: loads count"
	if s.rx.held > 0 {
		action = "receiver: arms: releases all"
		n = c.subtract(s, s.rx.held)
	}
	if n.rx.owes && !s.rx.owes {
		action += ", was full: must ring" // the held tail can be all of a full ring
	}
	n.rx.known = n.count
	n.rx.at = c.afterLook(n.rx, receiverSleeps)
	if c.broken.armUncompared {
		n.rx.at = receiverSleeps
	}
	return transition{action: action, next: n, fault: c.receiverCheck(s, n)}
}

// subtract is one fetch_sub of the oldest held items. The value before it is
// news of count and moves the known bound.
func (c *config) subtract(s state, items uint8) state {
	before := s.count
	for i := range items {
		// Only the model writes here: it remembers that the slot is free.
		s.slots[(s.rx.index+c.length-s.rx.held+i)%c.length] = 0
	}
	s.count = before - items
	s.rx.held -= items
	s.rx.owes = s.rx.owes || before >= c.length
	if c.broken.trustOldLoad {
		s.rx.known -= items
	} else {
		s.rx.known = s.count
	}
	return s
}

// afterLook is the step after a fresh look at count: empty if it shows nothing
// new, and the end if that look is younger than a hang-up.
func (c *config) afterLook(r receiver, empty receiverStep) receiverStep {
	switch {
	case r.available() == 0 && r.heard:
		return receiverEnded
	case r.available() == 0:
		return empty
	case r.available() < min(c.broken.needItems, c.total-r.got):
		return receiverSleeps
	default:
		return receiverTakes
	}
}

var (
	takeOn        = []receiverStep{receiverTakes}
	takeOnOrQueue = []receiverStep{receiverTakes, receiverQueued}
	takeOnOrSleep = []receiverStep{receiverTakes, receiverSleeps}
	lookAgain     = []receiverStep{receiverLooks}
	sleepAtOnce   = []receiverStep{receiverSleeps}
)

// onward is what may follow when items were taken or released. With items left
// the turn goes on, or its budget is spent and the ring is queued again; with
// none known of there is a new look.
func (c *config) onward(r receiver) []receiverStep {
	left := r.available() > 0
	switch {
	case left && c.broken.oneSegment, !left && c.broken.trustOldLoad:
		return sleepAtOnce
	case left && c.broken.noRequeue:
		return takeOnOrSleep
	case left && c.partial:
		return takeOnOrQueue
	case left:
		return takeOn
	default:
		return lookAgain
	}
}

// receiverCheck is what the receiver requires of each value of count that it
// meets, and that it ends only when every item was taken.
func (c *config) receiverCheck(s, n state) string {
	if s.count < s.rx.known || s.count > c.length {
		return "the receiver meets a count that it must refuse"
	}
	if n.rx.at == receiverEnded && n.rx.got != c.total {
		return "the receiver ends and leaves items behind"
	}
	return ""
}

// lifelineSteps: beside the calls of each side someone watches for the end of
// its peer. That one stores the flag, then makes an edge for the sleeper.
func (c *config) lifelineSteps(s state, out []transition) []transition {
	n := s
	switch {
	case s.tx.at == senderEnded && s.rx.at == receiverEnded:
	case s.tx.at == senderEnded && s.receiverTold == toldNothing:
		n.receiverTold = toldFlag
		out = append(out, transition{action: "lifeline: tells the receiver", next: n})
	case s.receiverTold == toldFlag:
		n.receiverTold, n.emptyEdge = toldAll, true
		out = append(out, transition{action: "lifeline: wakes the receiver", next: n})
	case s.rx.at == receiverEnded && s.senderTold == toldNothing:
		n.senderTold = toldFlag
		out = append(out, transition{action: "lifeline: tells the sender", next: n})
	case s.senderTold == toldFlag:
		n.senderTold, n.fullEdge = toldAll, true
		out = append(out, transition{action: "lifeline: wakes the sender", next: n})
	}
	return out
}
