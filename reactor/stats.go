package reactor

import "sync/atomic"

// Stats counts what a loop did since it was made.
type Stats struct {
	Registered int    // registrations now
	Waits      uint64 // calls of epoll_wait
	Edges      uint64 // events for live registrations
	Spurious   uint64 // events dropped, because their registration was gone
	Services   uint64 // Ready callbacks
	Posts      uint64 // posted functions run
	Wakes      uint64 // writes to the loop's own eventfd
	Panics     uint64 // panics caught, of all callbacks
	Ended      uint64 // registrations ended by the loop, not by their owner
}

// RegistrationStats counts what a loop did for one registration.
type RegistrationStats struct {
	Edges    uint64 // events of its descriptor
	Services uint64 // Ready callbacks
}

// Stats returns the counters, also after Close.
func (r *Registration) Stats() RegistrationStats {
	return RegistrationStats{Edges: r.edges.Load(), Services: r.services.Load()}
}

// counters are atomic so that Stats needs no lock on the hot path.
type counters struct {
	waits, edges, spurious, services, posts, wakes, panics, ended atomic.Uint64
}

func (s *Stats) add(o Stats) {
	s.Registered += o.Registered
	s.Waits += o.Waits
	s.Edges += o.Edges
	s.Spurious += o.Spurious
	s.Services += o.Services
	s.Posts += o.Posts
	s.Wakes += o.Wakes
	s.Panics += o.Panics
	s.Ended += o.Ended
}

// Registered returns the number of registrations that the loop has now.
func (l *Loop) Registered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.table.live
}

// Stats returns the counters. Each is exact, but they are not all of one
// instant while the loop runs.
func (l *Loop) Stats() Stats {
	return Stats{
		Registered: l.Registered(),
		Waits:      l.stats.waits.Load(),
		Edges:      l.stats.edges.Load(),
		Spurious:   l.stats.spurious.Load(),
		Services:   l.stats.services.Load(),
		Posts:      l.stats.posts.Load(),
		Wakes:      l.stats.wakes.Load(),
		Panics:     l.stats.panics.Load(),
		Ended:      l.stats.ended.Load(),
	}
}
