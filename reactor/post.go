package reactor

import "fmt"

// Post runs f on the loop's goroutine, in the order of the calls. Many posts
// wake the loop once. It does not wait for f, and may be called from any
// goroutine, f itself included.
//
// If Post returns nil, f runs once: in Run, in Poll or, if neither does it, in
// Close. The error matches ErrClosed after Close, ErrInvalid for a nil f. A
// panic in f is caught and counted in Stats.
func (l *Loop) Post(f func()) error {
	if f == nil {
		return fmt.Errorf("reactor: post: nil function: %w", ErrInvalid)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return fmt.Errorf("reactor: post: %w", ErrClosed)
	}
	if err := l.ring(); err != nil {
		return fmt.Errorf("reactor: post: %w", err)
	}
	l.posts = append(l.posts, f)
	return nil
}

// ring makes the loop look at its inbox. While it is awake it does so anyhow,
// and one edge serves all who come before it is seen. Needs l.mu: with it the
// descriptor of the loop is readable by the time the caller goes on.
func (l *Loop) ring() error {
	if l.awake || l.rung {
		return nil
	}
	if err := l.wake(); err != nil {
		return err
	}
	l.rung = true
	l.stats.wakes.Add(1)
	return nil
}

// runPosts runs those that were there when it began.
func (l *Loop) runPosts() {
	for n := l.batch.len(); n > 0; n-- {
		l.runPost(l.batch.pop())
	}
}

func (l *Loop) runPost(f func()) {
	defer func() {
		if v := recover(); v != nil {
			_ = l.caught("Post or timer", v)
		}
	}()
	l.ran++
	l.stats.posts.Add(1)
	f()
}
