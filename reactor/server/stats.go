package server

import (
	"encoding/json"
	"sync/atomic"

	"github.com/shmloop/shmloop/reactor"
)

// Stats counts what a server did. It is meant to be shown as JSON; see the package
// comment for expvar. Opened is the sum of Open and of the five ends.
type Stats struct {
	Open    int    // connections now
	Opened  uint64 // connections that Open took
	Refused uint64 // clients refused for their item size, by Open, or for want of a resource

	Clean    uint64 // ends: the client said farewell, or Shutdown drained it
	Crashed  uint64 // ends: the client died, or broke the lifeline's rules
	Poisoned uint64 // ends: the client damaged its ring
	Failed   uint64 // ends: error or panic of Ready, or a failed system call
	Closed   uint64 // ends: Conn.Close, or the server's end

	Items   uint64 // moved by Conn.Receive and Conn.Send, or told to Conn.Count
	Dropped uint64 // by the policy DropNewest
	Swept   uint64 // turns that the sweep had to ask for

	Reactor reactor.Stats // of all loops
}

// String returns the numbers as JSON.
func (s Stats) String() string {
	b, err := json.Marshal(s)
	if err != nil {
		return "null" // numbers do not fail
	}
	return string(b)
}

type counters struct {
	opened, refused, clean, crashed, poisoned, failed, closed, items, dropped, swept atomic.Uint64
}

// Stats returns the counters. Each is exact, but they are not all of one instant
// while the server runs. Clients that package handoff turned away, for its policy
// or its quotas, are not among them.
func (s *Server[T]) Stats() Stats {
	n := &s.counters
	st := Stats{ // the ends first: Open must not be less than 0
		Clean: n.clean.Load(), Crashed: n.crashed.Load(), Poisoned: n.poisoned.Load(),
		Failed: n.failed.Load(), Closed: n.closed.Load(),
		Refused: n.refused.Load(), Items: n.items.Load(), Dropped: n.dropped.Load(), Swept: n.swept.Load(),
	}
	st.Opened = n.opened.Load()
	st.Open = int(st.Opened - st.Clean - st.Crashed - st.Poisoned - st.Failed - st.Closed)
	s.mu.Lock()
	r := s.reactor
	s.mu.Unlock()
	if r != nil {
		st.Reactor = r.Stats()
	}
	return st
}
