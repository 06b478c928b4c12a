package reactor

import (
	"bytes"
	"runtime"
	"strconv"
	"sync/atomic"
)

// owner names the goroutine that runs the callbacks. Close needs it: called
// inside a callback it must not wait for that callback, called elsewhere it
// must, and Go has no way to ask who calls.
//
// Run asks for its goroutine's number once. That takes 10 us or more, too much
// for each Poll, so Poll holds its goroutine on one thread while callbacks run:
// then the thread's number, 0.1 us, names the goroutine.
type owner struct {
	goroutine atomic.Uint64 // 0: none
	thread    atomic.Int64  // 0: none
}

// OnLoop tells whether the calling goroutine runs the loop's callbacks, so that it
// must not wait for one. It takes some microseconds.
func (l *Loop) OnLoop() bool { return l.owner.isCaller() }

// lockThread makes the calling goroutine the owner until unlockThread.
func (o *owner) lockThread() {
	runtime.LockOSThread()
	o.thread.Store(int64(threadID()))
}

func (o *owner) unlockThread() {
	o.thread.Store(0)
	runtime.UnlockOSThread()
}

// isCaller says whether the calling goroutine runs the callbacks. It is slow.
func (o *owner) isCaller() bool {
	if id := o.goroutine.Load(); id != 0 {
		return id == goroutineID()
	}
	// Held on its thread while it compares, the caller cannot be on a thread
	// that another goroutine is held on.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	id := o.thread.Load()
	return id != 0 && id == int64(threadID())
}

// goroutineID reads the number that the runtime shows in a stack trace
// ("goroutine 7 [running]:"). It is never used again in the same process.
func goroutineID() uint64 {
	var buf [64]byte
	head := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	number, _, _ := bytes.Cut(head, []byte(" "))
	id, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil {
		panic("reactor: stack trace without a goroutine number: " + string(head))
	}
	return id
}
