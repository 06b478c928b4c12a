package proctest

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dieWithParent has the process killed when the thread that starts it ends,
// so that no role outlives a test run that panics or is killed.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// Offsets in struct seccomp_data, include/uapi/linux/seccomp.h: int nr, u32
// arch, u64 instruction_pointer, u64 args[6].
const (
	seccompNr   = 0
	seccompArch = 4
	seccompArgs = 16
)

func injectErrno(faults []Fault) error {
	prog, err := filter(faults)
	if err != nil {
		return err
	}
	// The first call is about this thread, the second spreads both to all.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("proctest: prctl(PR_SET_NO_NEW_PRIVS): %w", err)
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	tid, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return fmt.Errorf("proctest: seccomp(SECCOMP_SET_MODE_FILTER): %w", errno)
	}
	if tid != 0 {
		return fmt.Errorf("proctest: seccomp: thread %d cannot take the filter", tid)
	}
	return nil
}

// filter returns a classic BPF program that fails faults and allows the rest.
func filter(faults []Fault) ([]unix.SockFilter, error) {
	arch, err := auditArch()
	if err != nil {
		return nil, err
	}
	allow := stmt(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW)
	prog := []unix.SockFilter{
		load(seccompArch),
		// System call numbers mean something else on another architecture.
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: arch, Jt: 1},
		allow,
	}
	for _, f := range faults {
		code, err := f.code()
		if err != nil {
			return nil, err
		}
		prog = append(prog, code...)
	}
	prog = append(prog, allow)
	if len(prog) > unix.BPF_MAXINSNS {
		return nil, fmt.Errorf("proctest: %d faults are too many for one filter", len(faults))
	}
	return prog, nil
}

func auditArch() (uint32, error) {
	switch runtime.GOARCH {
	case "amd64":
		return unix.AUDIT_ARCH_X86_64, nil
	case "arm64":
		return unix.AUDIT_ARCH_AARCH64, nil
	}
	return 0, fmt.Errorf("proctest: inject errno on %s: %w", runtime.GOARCH, errors.ErrUnsupported)
}

// code returns the part of the program that ends with Errno if f matches and
// falls through to its own end if not.
func (f Fault) code() ([]unix.SockFilter, error) {
	if f.Arg < -1 || f.Arg > 5 {
		return nil, fmt.Errorf("proctest: fault in system call %d: argument %d is not in -1..5", f.Syscall, f.Arg)
	}
	code := []unix.SockFilter{load(seccompNr), unlessEqual(uint32(f.Syscall))}
	if f.Arg >= 0 {
		// BPF words have 32 bits; amd64 and arm64 Linux are little-endian.
		low := uint32(seccompArgs + 8*f.Arg)
		code = append(code,
			load(low), stmt(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, uint32(f.Mask)), unlessEqual(uint32(f.Value)),
			load(low+4), stmt(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, uint32(f.Mask>>32)), unlessEqual(uint32(f.Value>>32)))
	}
	code = append(code, stmt(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ERRNO|uint32(f.Errno)&unix.SECCOMP_RET_DATA))
	for i := range code {
		if code[i].Code == unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K {
			code[i].Jf = uint8(len(code) - i - 1)
		}
	}
	return code, nil
}

func load(offset uint32) unix.SockFilter {
	return stmt(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset)
}

// unlessEqual jumps if the word loaded is not k; code sets how far.
func unlessEqual(k uint32) unix.SockFilter {
	return stmt(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, k)
}

func stmt(code uint16, k uint32) unix.SockFilter {
	return unix.SockFilter{Code: code, K: k}
}
