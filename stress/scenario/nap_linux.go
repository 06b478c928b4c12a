package scenario

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// exactNaps ties the calling goroutine to its thread, and has the kernel wake that
// thread on time and not up to 50 us later.
func exactNaps() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // without it naps are longer
}

// nap sleeps on this thread: Go's timers are for whole milliseconds when nothing else
// is to be done. It may return early.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}
