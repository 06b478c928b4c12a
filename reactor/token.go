package reactor

import "fmt"

// A token is what epoll gives back with an event: a slot of the table and that
// slot's generation. A descriptor number or a pointer would be taken for its
// successor's when an event of a closed registration comes late.
type token struct{ slot, generation uint32 }

// A host gives 48 bits for a token: 24 for the slot and 24 for the generation.
const (
	tokenBits = 24
	tokenMask = 1<<tokenBits - 1
)

// datum packs k for a host.
func (k token) datum() (uint64, error) {
	if k.slot > tokenMask {
		return 0, fmt.Errorf("more than %d registrations: %w", tokenMask, ErrInvalid)
	}
	return uint64(k.generation)<<tokenBits | uint64(k.slot), nil
}

func tokenOf(datum uint64) token {
	return token{slot: uint32(datum & tokenMask), generation: uint32(datum >> tokenBits & tokenMask)}
}

// The loop's own descriptors. The table never hands out slot 0.
var (
	wakeToken  = token{generation: 0} // eventfd
	timerToken = token{generation: 1} // timerfd
)

// table maps tokens to live registrations.
type table struct {
	slots []slot
	free  []uint32
	live  int
}

type slot struct {
	generation uint32
	reg        *Registration // nil: free
}

func newTable() table { return table{slots: make([]slot, 1)} }

func (t *table) add(r *Registration) token {
	var s uint32
	if n := len(t.free); n > 0 {
		s = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		s = uint32(len(t.slots))
		t.slots = append(t.slots, slot{})
	}
	t.slots[s].reg = r
	t.live++
	return token{slot: s, generation: t.slots[s].generation}
}

// remove retires k: from now on events that carry it are dropped.
func (t *table) remove(k token) {
	t.slots[k.slot] = slot{generation: (k.generation + 1) & tokenMask}
	t.free = append(t.free, k.slot)
	t.live--
}

// find returns nil for a token that was retired.
func (t *table) find(k token) *Registration {
	if uint64(k.slot) >= uint64(len(t.slots)) || t.slots[k.slot].generation != k.generation {
		return nil
	}
	return t.slots[k.slot].reg
}

// next returns the first live registration in slot from or later, nil if there
// is none, and sets from to where it was found.
func (t *table) next(from *int) *Registration {
	for ; *from < len(t.slots); *from++ {
		if r := t.slots[*from].reg; r != nil {
			return r
		}
	}
	return nil
}
