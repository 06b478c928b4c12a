package harness

import (
	"fmt"
	"os/exec"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// selfExe is this program, even if its file was replaced.
const selfExe = "/proc/self/exe"

// dieWithParent has the kernel kill the process when this one dies. With group
// it leads a process group, so that a Ctrl-C is only ours to see.
func dieWithParent(cmd *exec.Cmd, group bool) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = group
}

// awaitEnd returns when the process has ended, and does not reap it.
func awaitEnd(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

func killGroup(leader int) { _ = unix.Kill(-leader, unix.SIGKILL) }

// cpuOf reads the CPU clock of a process, 0 for this one; it returns 0 if there
// is no such process. The clock's id is made as in the kernel's
// include/linux/posix-timers_types.h: the inverted process id, the kind
// CPUCLOCK_SCHED below.
func cpuOf(pid int) time.Duration {
	const cpuclockSched = 2
	clock := int32(unix.CLOCK_PROCESS_CPUTIME_ID)
	if pid != 0 {
		clock = ^int32(pid)<<3 | cpuclockSched
	}
	var t unix.Timespec
	if unix.ClockGettime(clock, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

func contextSwitches() uint64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return uint64(u.Nvcsw) + uint64(u.Nivcsw)
}

// What follows is for the floors. Calls are raw, without word to the scheduler of
// the Go runtime, to measure the kernel alone; floorsMain makes that safe.

func getpid() { unix.RawSyscallNoError(unix.SYS_GETPID, 0, 0, 0) }

func newEventfd() (int, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("harness: eventfd: %w", err)
	}
	return fd, nil
}

func closeEventfd(fd int) { _ = unix.Close(fd) }

func writeEventfd(fd int) {
	one := [8]byte{1}
	unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), 8)
}

// readEventfd waits until the count is not 0.
func readEventfd(fd int) {
	var count [8]byte
	unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&count)), 8)
}

func allowedCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("harness: sched_getaffinity: %w", err)
	}
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// setUpThread binds the calling thread to a CPU and, with idle, lets it run only
// when nothing else wants that CPU: sched(7), SCHED_IDLE.
func setUpThread(cpu int, idle bool) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("harness: sched_setaffinity to CPU %d: %w", cpu, err)
	}
	if !idle {
		return nil
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("harness: sched_setattr(SCHED_IDLE): %w", err)
	}
	return nil
}
