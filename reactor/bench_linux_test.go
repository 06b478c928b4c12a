package reactor

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func BenchmarkAttachClose(b *testing.B) {
	h := newHarness(b)
	f := h.ring()
	b.ReportAllocs()
	for b.Loop() {
		reg, err := h.Attach(f, idleHandler)
		if err != nil {
			b.Fatal(err)
		}
		if err := reg.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// One doorbell, to the end of the callback, all on one goroutine.
func BenchmarkEdgePoll(b *testing.B) {
	h := newHarness(b)
	f := h.ring()
	h.attach(f, Handler{Ready: func(Event) error { f.take(1); return nil }})
	h.poll()
	b.ReportAllocs()
	for b.Loop() {
		f.send(1)
		if n, err := h.Poll(0); n != 1 || err != nil {
			b.Fatal(n, err)
		}
	}
}

// One doorbell to a loop that sleeps, and word back through a channel.
func BenchmarkEdgeRun(b *testing.B) {
	h := newHarness(b)
	h.run()
	f := h.ring()
	back := make(chan bool, 1)
	h.attach(f, Handler{Ready: func(Event) error {
		if f.take(1) > 0 {
			back <- true
		}
		return nil
	}})
	b.ReportAllocs()
	for b.Loop() {
		f.send(1)
		<-back
	}
}

// A turn that leaves something: no doorbell.
func BenchmarkTurn(b *testing.B) {
	h := newHarness(b)
	const rings = 64
	for range rings {
		f := h.ring()
		f.count.Store(1)
		h.attach(f, idleHandler)
	}
	h.poll()
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= rings {
		if n, err := h.Poll(0); n != rings || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkPostPoll(b *testing.B) {
	h := newHarness(b)
	f := func() {}
	b.ReportAllocs()
	for b.Loop() {
		if err := h.Post(f); err != nil {
			b.Fatal(err)
		}
		if n, err := h.Poll(0); n != 1 || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkPostRun(b *testing.B) {
	h := newHarness(b)
	h.run()
	back := make(chan bool, 1)
	f := func() { back <- true }
	b.ReportAllocs()
	for b.Loop() {
		if err := h.Post(f); err != nil {
			b.Fatal(err)
		}
		<-back
	}
}

func TestNoAllocationInSteadyState(t *testing.T) {
	h := newHarness(t)
	f := h.ring()
	h.attach(f, Handler{Ready: func(Event) error { f.take(1); return nil }})
	a, b := h.socketpair()
	buf := make([]byte, 8)
	h.register(a, Readable, Handler{Ready: func(Event) error { return readInto(a, buf) }})
	nothing := func() {}
	require.Zero(t, testing.AllocsPerRun(200, func() {
		f.send(3) // two turns follow the edge
		ringBell(t, b)
		if err := h.Post(nothing); err != nil {
			t.Error(err)
		}
		for range 3 {
			if _, err := h.Poll(0); err != nil {
				t.Error(err)
			}
		}
	}))
}
