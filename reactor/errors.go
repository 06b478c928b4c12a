package reactor

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed says that the loop or the registration is closed.
	ErrClosed = errors.New("closed")
	// ErrRunning says that another Run or Poll of the same loop is active.
	ErrRunning = errors.New("loop is running already")
	// ErrRegistered says that the loop has this descriptor already.
	ErrRegistered = errors.New("descriptor is registered already")
	// ErrNotPollable says that epoll cannot wait on such a descriptor, a
	// regular file or a directory.
	ErrNotPollable = errors.New("descriptor cannot be polled")
	// ErrInvalid says that an argument makes no sense: a nil source, handler or
	// function, or an interest in nothing.
	ErrInvalid = errors.New("invalid argument")
	// ErrGoexit says that a Ready callback ended the loop's goroutine by
	// runtime.Goexit.
	ErrGoexit = errors.New("reactor: callback called runtime.Goexit")

	// errStopped ends Run when its context does.
	errStopped = errors.New("stopped")
)

// A PanicError is what Closed is told after a panic in a Ready callback or in a
// Source. A fault in a mapped page, such as SIGBUS after a truncation, counts
// as one.
type PanicError struct {
	Value any    // what recover returned
	Stack []byte // of the goroutine, as debug.Stack writes it
}

// Error returns the panic's value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("reactor: callback panicked: %v", e.Value) }

// Unwrap returns Value if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
