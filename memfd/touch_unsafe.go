package memfd

import (
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// touch faults in each page of b without changing a byte, for kernels without
// MADV_POPULATE. b begins at a page.
func touch(b []byte, writable bool) (err error) {
	// Where the memory has run out, a touch raises SIGBUS. It has to cost
	// this mapping, not the process.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%w: %v", syscall.EFAULT, fault)
		}
	}()
	for i := 0; i < len(b); i += os.Getpagesize() {
		word := (*uint32)(unsafe.Pointer(&b[i]))
		if writable {
			// A write fault, but no store that a peer could lose.
			atomic.AddUint32(word, 0)
		} else {
			atomic.LoadUint32(word)
		}
	}
	return nil
}
