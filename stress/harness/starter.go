package harness

import (
	"runtime"
	"sync"
)

// The kernel sends the death signal of dieWithParent when the thread that
// forked ends, not the process (prctl(2)), and a Go thread ends with a goroutine
// that is locked to it. So one thread that never ends starts all processes. It
// also keeps the CPU affinity that this process began with, whatever an arm does
// to its own threads.
var (
	starterOnce sync.Once
	starterWork = make(chan func())
)

func onStarter(f func() error) error {
	starterOnce.Do(func() {
		go func() {
			runtime.LockOSThread()
			for work := range starterWork {
				work()
			}
		}()
	})
	result := make(chan error)
	starterWork <- func() { result <- f() }
	return <-result
}
