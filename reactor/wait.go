package reactor

import (
	"runtime"
	"time"
)

// step waits once and runs one round. worked means that callbacks were due, or that
// rings are polled.
func (l *Loop) step(timeout time.Duration) (worked bool, err error) {
	if timeout, err = l.beforeWait(timeout); err != nil {
		return false, err
	}
	n, err := l.look(timeout)
	if err != nil {
		return false, err
	}
	l.afterWait(l.events[:n])
	return l.work(), nil
}

// work asks the hot rings and runs one round.
func (l *Loop) work() (worked bool) {
	l.pollHot()
	if l.batch.len() == 0 && !l.due() {
		return len(l.hot) > 0
	}
	if l.byPoll {
		l.owner.lockThread()
		defer l.owner.unlockThread()
	}
	l.runPosts()
	l.round()
	return true
}

// look asks the kernel what is ready, unless it did so a moment ago and the rings
// keep the loop busy.
func (l *Loop) look(timeout time.Duration) (n int, err error) {
	if !l.polls() {
		l.stats.waits.Add(1)
		return epollWait(l.epfd, l.events, timeout)
	}
	l.now = time.Since(l.start)
	if timeout == 0 && l.skipLook() {
		return 0, nil
	}
	slept := timeout != 0
	napping := slept && l.moderation.napping
	if napping {
		l.takeNap()
		timeout = 0
	} else if slept {
		// A goroutine that a callback made runnable would else wait until the runtime
		// takes the processor away from this thread.
		runtime.Gosched()
	}
	l.stats.waits.Add(1)
	n, err = epollWait(l.epfd, l.events, timeout)
	if slept {
		l.now = time.Since(l.start)
	}
	l.looked = l.now
	l.moderate()
	return n, err
}

// beforeWait returns how long to wait.
func (l *Loop) beforeWait(timeout time.Duration) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed.Load():
		return 0, ErrClosed
	case l.stopped:
		return 0, errStopped
	}
	switch {
	case l.backlog():
		timeout = 0
	case l.moderation.napping:
		timeout = l.nap
	case len(l.hot) > 0:
		timeout = 0
	}
	// If not awake, whoever has work must ring from here on. A nap ends by itself.
	l.awake = timeout == 0 || l.moderation.napping
	// One wait sees all that is ready: FD is not readable for leftovers, and no
	// descriptor waits behind others.
	if need := l.table.live + 1; need > len(l.events) {
		l.events = make([]pollEvent, 2*need)
	}
	return timeout, nil
}

// backlog says whether there is work that no edge will tell. Needs l.mu.
func (l *Loop) backlog() bool {
	return len(l.posts) > 0 || len(l.inbox) > 0 || l.batch.len() > 0 || l.due()
}

// afterWait puts on the queues what the wait brought.
func (l *Loop) afterWait(events []pollEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awake = true
	for i := range events {
		l.dispatch(received(&events[i]))
	}
	if !l.rung { // else their edge is still to come, and would find nothing
		l.takeInbox()
	}
}

// dispatch needs l.mu.
func (l *Loop) dispatch(k token, ev Event) {
	switch k {
	case wakeToken:
		l.rung = false
		return
	case timerToken:
		l.expire()
		return
	}
	r := l.table.find(k)
	if r == nil {
		l.stats.spurious.Add(1) // closed since the wait, or its doorbell was closed too early
		return
	}
	l.stats.edges.Add(1)
	r.edges.Add(1)
	r.events.Or(uint32(ev))
	if r.source != nil {
		l.moderation.edges++
	}
	if r.state.wake() {
		l.push(r)
	}
}

// takeInbox needs l.mu.
func (l *Loop) takeInbox() {
	for _, f := range l.posts {
		l.batch.push(f)
	}
	clear(l.posts)
	l.posts = l.posts[:0]
	for _, r := range l.inbox {
		l.push(r)
	}
	clear(l.inbox)
	l.inbox = l.inbox[:0]
}
