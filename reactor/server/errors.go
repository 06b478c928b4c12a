package server

import "errors"

var (
	// ErrClosed says that this side closed the connection or the server.
	ErrClosed = errors.New("closed by the server")
	// ErrFull is returned by Conn.Send when the ring is full and the policy Refuse.
	ErrFull = errors.New("ring is full")
	// ErrOnLoop is returned by Conn.Send with the policy Block when it would have
	// to wait on the goroutine of the loop, which is the one that it waits for.
	ErrOnLoop = errors.New("the loop must not wait")
	// ErrInvalid says that a Handler has no Ready.
	ErrInvalid = errors.New("invalid handler")
)
