package reactor

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestReadyErrorEndsOneRegistration(t *testing.T) {
	h := newHarness(t)
	var ends []error
	h.attach(h.ring(), Handler{
		Ready:  func(Event) error { return errTest },
		Closed: func(err error) { ends = append(ends, err) },
	})
	h.attach(h.ring(), Handler{Ready: func(Event) error { return errTest }}) // Closed is optional
	good := h.ring()
	var total atomic.Int64
	h.attach(good, takeAll(good, &total))
	good.send(1)
	h.poll()
	require.Equal(t, []error{errTest}, ends)
	require.EqualValues(t, 1, total.Load())
	require.EqualValues(t, 2, h.Stats().Ended)
}

func TestFault07PanicEndsOneRegistration(t *testing.T) {
	for _, where := range []string{"ready", "pending", "arm"} {
		t.Run(where, func(t *testing.T) {
			h := newHarness(t)
			f, good := h.ring(), h.ring()
			blow := func() error { panic(errTest) }
			ready := func(Event) error { return nil }
			switch where {
			case "ready":
				ready = func(Event) error { return blow() }
			case "pending":
				f.pending = blow
			case "arm":
				f.arm = blow
			}
			var ends []error
			h.attach(f, Handler{Ready: ready, Closed: func(err error) { ends = append(ends, err) }})
			var total atomic.Int64
			h.attach(good, takeAll(good, &total))
			good.send(1)
			h.poll()
			require.Len(t, ends, 1)
			var p *PanicError
			require.ErrorAs(t, ends[0], &p)
			require.Equal(t, errTest, p.Value)
			require.ErrorIs(t, p, errTest)
			require.Contains(t, string(p.Stack), "TestFault07")
			require.EqualValues(t, 1, h.Stats().Panics)
			require.EqualValues(t, 1, total.Load())
			require.NoError(t, h.Close())
		})
	}
}

func TestPanicValues(t *testing.T) {
	require.NoError(t, (&PanicError{Value: "text"}).Unwrap())
	require.EqualError(t, &PanicError{Value: "text"}, "reactor: callback panicked: text")

	h := newHarness(t)
	var end error
	h.attach(h.ring(), Handler{
		Ready:  func(Event) error { panic(nil) },
		Closed: func(err error) { end = err },
	})
	h.poll()
	var nilPanic *runtime.PanicNilError
	require.ErrorAs(t, end, &nilPanic)
}

func TestPanicInClosedAndPost(t *testing.T) {
	h := newHarness(t)
	h.attach(h.ring(), Handler{
		Ready:  func(Event) error { return errTest },
		Closed: func(error) { panic("closed") },
	})
	after := false
	require.NoError(t, h.Post(func() { panic("post") }))
	require.NoError(t, h.Post(func() { after = true }))
	h.poll()
	require.True(t, after)
	require.EqualValues(t, 2, h.Stats().Panics)
	require.Zero(t, h.Stats().Registered)
}

// A page of a mapping is gone when a callback touches it.
func TestFault26MappedPageGone(t *testing.T) {
	page := unix.Getpagesize()
	fd, err := unix.MemfdCreate("page", unix.MFD_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Ftruncate(fd, int64(page)))
	mem, err := unix.Mmap(fd, 0, page, unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	defer unix.Munmap(mem)
	require.NoError(t, unix.Ftruncate(fd, 0))

	for _, driver := range []string{"run", "poll"} {
		t.Run(driver, func(t *testing.T) {
			h := newHarness(t)
			ends := make(chan error, 1)
			h.attach(h.ring(), Handler{
				Ready: func(Event) error {
					if mem[0] != 0 {
						return errTest
					}
					return nil
				},
				Closed: func(err error) { ends <- err },
			})
			if driver == "run" {
				h.run()
			} else {
				h.poll()
				require.False(t, debug.SetPanicOnFault(false), "the host's goroutine is as it was")
			}
			var p *PanicError
			require.ErrorAs(t, <-ends, &p)
			var fault runtime.Error
			require.ErrorAs(t, p, &fault)
		})
	}
}

// A callback that ends its goroutine ends its registration; the loop can be run
// again and forgets nothing.
func TestGoexit(t *testing.T) {
	for _, where := range []string{"ready", "closed", "post"} {
		for _, driver := range []string{"run", "poll"} {
			t.Run(where+"/"+driver, func(t *testing.T) {
				h := newHarness(t)
				f, good := h.ring(), h.ring()
				hd := Handler{Ready: func(Event) error { return nil }}
				var end error
				switch where {
				case "ready":
					hd.Ready = func(Event) error { runtime.Goexit(); return nil }
					hd.Closed = func(err error) { end = err }
				case "closed":
					hd.Ready = func(Event) error { return errTest }
					hd.Closed = func(err error) { end = err; runtime.Goexit() }
				case "post":
					require.NoError(t, h.Post(runtime.Goexit))
				}
				reg := h.attach(f, hd)
				var total atomic.Int64
				h.attach(good, takeAll(good, &total))
				good.send(3)
				posted := false
				require.NoError(t, h.Post(func() { posted = true }))

				gone := make(chan bool)
				go func() {
					defer close(gone)
					if driver == "run" {
						_ = h.Run(context.Background())
					} else {
						_, _ = h.Poll(-1)
					}
					t.Error("the goroutine went on")
				}()
				<-gone
				require.True(t, h.readable())
				h.poll()
				require.True(t, posted)
				require.EqualValues(t, 3, total.Load())
				require.NoError(t, reg.Close())
				switch where {
				case "ready":
					require.Equal(t, ErrGoexit, end)
				case "closed":
					require.Equal(t, errTest, end)
				}
			})
		}
	}
}

func TestGoexitWhileTheLoopCloses(t *testing.T) {
	h := newHarness(t)
	told := 0
	for range 3 {
		h.attach(h.ring(), Handler{
			Ready:  func(Event) error { return nil },
			Closed: func(error) { told++; runtime.Goexit() },
		})
	}
	require.NoError(t, h.Post(runtime.Goexit))
	gone := make(chan bool)
	go func() {
		defer close(gone)
		_ = h.Close()
	}()
	<-gone
	require.Equal(t, 3, told)
	h.requireClosed()
}
