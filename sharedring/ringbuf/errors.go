package ringbuf

import "errors"

// Errors that calls of this package wrap; test for them with errors.Is.
var (
	// ErrCorrupt is returned when the shared count cannot be right: the other side
	// broke the protocol or does not speak it. It is final: every later call on
	// this end returns it, and the shared memory is not touched again.
	ErrCorrupt = errors.New("ring is corrupt")

	// ErrItemType is returned for an item type that must not cross a process border.
	ErrItemType = errors.New("item type not allowed in a ring")

	// ErrTooSmall is returned for memory that does not hold the header and one item.
	ErrTooSmall = errors.New("ring memory too small")

	// ErrRange is returned when an argument claims more than there is: a capacity
	// that cannot be, a Commit beyond its Reserve, a Discard beyond its Peek.
	// Nothing was moved.
	ErrRange = errors.New("argument out of range")
)
