package memfd

import (
	"errors"
	"syscall"
)

// retry calls f until it is no longer interrupted by a signal; the Go runtime
// sends those to preempt goroutines.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
