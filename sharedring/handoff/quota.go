package handoff

import "sync"

// quota counts, for each uid, the rings and the bytes of the connections that are
// open or being made.
type quota struct {
	maxRings int
	maxBytes int64

	mu   sync.Mutex
	used map[uint32]usage
}

type usage struct {
	rings int
	bytes int64
}

// take books rings and bytes on uid, or says which quota they would exceed. The
// caller calls release once.
func (q *quota) take(uid uint32, rings int, bytes int64) (release func(), reason Reason) {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.used[uid]
	switch { // subtractions, since sums could overflow
	case rings > q.maxRings-u.rings:
		return nil, ReasonRings
	case bytes > q.maxBytes-u.bytes:
		return nil, ReasonBytes
	}
	q.used[uid] = usage{u.rings + rings, u.bytes + bytes}
	return func() { q.give(uid, rings, bytes) }, ReasonNone
}

func (q *quota) give(uid uint32, rings int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.used[uid]
	u.rings -= rings
	u.bytes -= bytes
	if u == (usage{}) {
		delete(q.used, uid) // uids come and go; an idle one costs nothing
		return
	}
	q.used[uid] = u
}
