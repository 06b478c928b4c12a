package harness

import "time"

// SelfCPU returns the CPU time that this process has used, all threads, user
// and kernel. It is exact to the nanosecond, unlike getrusage(2).
func SelfCPU() time.Duration { return cpuOf(0) }

// SelfSwitches returns the context switches of this process, all threads,
// voluntary and not.
func SelfSwitches() uint64 { return contextSwitches() }
