package proctest

import "syscall"

// A Fault is a system call that fails with Errno without being made, always
// or when the bits Mask of one argument are equal to Value.
type Fault struct {
	Syscall uintptr       // number, such as unix.SYS_MMAP
	Errno   syscall.Errno // what the call fails with
	Arg     int           // index of the argument to look at, 0 to 5; -1 = none
	Mask    uint64        // bits of that argument to look at
	Value   uint64        // what these bits have to be
}

// InjectErrno makes the system calls of faults fail from now on, on all
// threads of this process and in all that it starts. It cannot be undone, so
// call it only in a Role. The first fault that matches a call wins.
//
// A filter has no memory: a call that fails with EINTR does so for ever, and
// one that is tried again after EINTR never returns.
//
// The kernel's interface is that of seccomp(2); amd64 and arm64 are known,
// others get errors.ErrUnsupported.
func InjectErrno(faults ...Fault) error { return injectErrno(faults) }
