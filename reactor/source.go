package reactor

import (
	"fmt"
	"strings"
)

// A Source is one end of a ring. The loop calls FD once, in Attach, and the
// other methods only on its goroutine, between two turns. Any error of theirs
// ends the registration.
type Source interface {
	// FD returns the doorbell to wait on. It is borrowed, and stays open until
	// Registration.Close returned or Handler.Closed was called.
	FD() int
	// Pending says whether there is work now. It makes no system call.
	Pending() (bool, error)
	// Arm says that the loop is about to sleep on this ring. It is called after a turn
	// only: who uses the ring outside its turns, as to send on it from a timer, calls
	// Registration.Resume afterwards, for a turn and with it another Arm. The source
	// releases what it holds back, so that the peer rings again, and then looks
	// once more: pending is true if work came in meanwhile.
	Arm() (pending bool, err error)
}

// A Handler is told about one registration. Its functions run on the loop's
// goroutine, so they must not block.
type Handler struct {
	// Ready is one turn: take a batch and return. It may be called with nothing
	// to take. What is left over gets another turn, after the others. An error
	// ends the registration; so return that of a ring, io.EOF included: one that is
	// swallowed is met again in the next turn, for ever.
	Ready func(ev Event) error
	// Closed is the last callback, called exactly once when the loop ends the
	// registration itself. err is what Ready or the Source returned, a
	// *PanicError, ErrGoexit, or ErrClosed if the loop was closed. The loop has
	// let go of the descriptor by then, so the owner may close it here. Closed
	// may be nil, and is not called after Registration.Close.
	Closed func(err error)
}

// Interest says what to wait for on a descriptor. It is a set of bits.
type Interest uint32

const (
	Readable Interest = 1 << iota // data to read, a connection to accept, end of stream
	Writable                      // room to write
	// EdgeTriggered asks for one call per change and not one per round while
	// the condition lasts. The handler then reads or writes until EAGAIN, or
	// calls Registration.Resume to be called again.
	EdgeTriggered

	interestAll = Readable | Writable | EdgeTriggered
)

func (i Interest) check() error {
	if i&(Readable|Writable) == 0 || i&^interestAll != 0 {
		return fmt.Errorf("interest %#x: %w", uint32(i), ErrInvalid)
	}
	return nil
}

// Event is what was seen on a descriptor: any of Readable, Writable, HangUp and
// Error. In a turn of a ring Readable is always set: it means "look".
type Event uint32

const (
	eventReadable Event = 1 << iota
	eventWritable
	eventHangUp
	eventError
)

// Readable says that there is something to read, end of stream included.
func (e Event) Readable() bool { return e&eventReadable != 0 }

// Writable says that there is room to write.
func (e Event) Writable() bool { return e&eventWritable != 0 }

// HangUp says that the other end is gone for both directions (EPOLLHUP).
func (e Event) HangUp() bool { return e&eventHangUp != 0 }

// Error says that the descriptor has an error pending, or that nobody reads the
// pipe that it writes to (EPOLLERR).
func (e Event) Error() bool { return e&eventError != 0 }

// String returns the names of the bits, such as "readable|hang-up".
func (e Event) String() string {
	var names []string
	for i, name := range []string{"readable", "writable", "hang-up", "error"} {
		if e&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}
