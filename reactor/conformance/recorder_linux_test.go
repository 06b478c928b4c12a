package conformance

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// recorder is a testing.TB of a test that is meant to fail.
type recorder struct {
	testing.TB // of the test that looks on; never told of failures
	ctx        context.Context
	cancel     context.CancelFunc

	mu       sync.Mutex
	failures []string
	cleanups []func()
}

// record runs f as a test of its own, to its end, and returns what it reported.
func record(t testing.TB, f func(t testing.TB)) (failures []string) {
	r := &recorder{TB: t}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	defer r.cancel()
	r.guard(func() { f(r) })
	r.cancel()
	for len(r.cleanups) > 0 {
		last := r.cleanups[len(r.cleanups)-1]
		r.cleanups = r.cleanups[:len(r.cleanups)-1]
		r.guard(last)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.failures)
}

// guard runs f on a goroutine, which FailNow may end.
func (r *recorder) guard(f func()) {
	done := make(chan bool)
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Cleanup(f func())         { r.cleanups = append(r.cleanups, f) }
func (r *recorder) FailNow()                 { runtime.Goexit() }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	r.FailNow()
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }
func (r *recorder) Error(args ...any) { r.Errorf("%s", fmt.Sprint(args...)) }
