package reactor

import (
	"errors"
	"fmt"
)

// Close ends the loop: Run and Poll return ErrClosed, posts that were accepted
// are run, and all registrations get Closed(ErrClosed), on the loop's goroutine
// or, if neither Run nor Poll is active, on the caller's. Then the loop's
// descriptors are closed and Close returns. Called inside a callback it returns
// at once, and the rest is done when that callback has returned.
//
// Close is idempotent. It must not be called with a lock held that a callback
// wants, and a callback must not wait for another goroutine that calls it.
func (l *Loop) Close() error {
	mine, err := l.shut()
	switch {
	case err != nil:
		return fmt.Errorf("reactor: close: %w", err)
	case mine:
		l.takeCharge(false)
		l.leave()
	case l.owner.isCaller():
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.torn {
		l.settled.Wait()
	}
	return l.tornErr
}

// shut refuses what is new. It is true if the caller has to tear down, because
// nobody is in charge who would do it on leaving.
func (l *Loop) shut() (mine bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed.Store(true)
	if l.torn {
		return false, nil
	}
	if l.driven {
		return false, l.ring()
	}
	l.driven = true
	return true, nil
}

// tearDown is what Close promises. The loop is closed, so nothing is added.
func (l *Loop) tearDown() {
	complete := false
	defer func() {
		if !complete {
			l.tearDown() // a callback called runtime.Goexit: do the rest
		}
	}()
	if l.byPoll {
		l.owner.lockThread()
		defer l.owner.unlockThread()
	}
	l.mu.Lock()
	l.takeInbox()
	l.mu.Unlock()
	l.runPosts()
	l.endAll()
	l.release()
	complete = true
}

func (l *Loop) endAll() {
	for from := 0; ; {
		l.mu.Lock()
		r := l.table.next(&from)
		l.mu.Unlock()
		if r == nil {
			return
		}
		l.end(r, ErrClosed)
	}
}

// release is the last step of Close.
func (l *Loop) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.host == nil {
		l.tornErr = errors.Join(closeFD(l.wakefd), closeFD(l.epfd))
	}
	l.wakefd, l.epfd = -1, -1
	l.tornErr = errors.Join(l.tornErr, l.dropTimers())
	l.hot = nil
	l.owner.goroutine.Store(0)
	l.torn = true
	l.settled.Broadcast()
}
