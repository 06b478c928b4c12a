package reactor

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// 8 goroutines attach, ring, pause, resume and close 1,000 registrations while
// the loop runs. After each Close its callback is silent, and at the end all is
// as it was.
func TestChurn(t *testing.T) {
	const workers, each = 8, 125
	h := newHarness(t)
	h.run()
	var rings [workers][]*fakeRing
	for w := range rings {
		rings[w] = []*fakeRing{h.ring(), h.ring(), h.ring()}
	}
	var group sync.WaitGroup
	for _, rings := range rings {
		group.Go(func() {
			for i := range each {
				churn(t, h, rings[i%len(rings)], i)
			}
		})
	}
	group.Wait()
	require.Zero(t, h.Stats().Registered)
	require.LessOrEqual(t, len(h.table.slots), 1+workers)
}

func churn(t *testing.T, h *harness, f *fakeRing, i int) {
	var over atomic.Bool
	first := make(chan bool, 1)
	ends := make(chan error, 1)
	reg, err := h.Attach(f, Handler{
		Ready: func(Event) error {
			if over.Load() {
				t.Error("callback after Close")
			}
			select {
			case first <- true:
			default:
			}
			if f.take(1) > 0 && i%5 == 0 {
				return errTest
			}
			return nil
		},
		Closed: func(err error) { ends <- err },
	})
	if err != nil {
		t.Error(err)
		return
	}
	f.send(2)
	switch i % 5 {
	case 0: // ends by itself
		<-ends
	case 1:
		<-first
	case 2:
		reg.Pause()
		noError(t, reg.Resume())
		<-first
	case 3:
		reg.Pause()
	}
	noError(t, reg.Close())
	over.Store(true)
	f.take(2)
}
