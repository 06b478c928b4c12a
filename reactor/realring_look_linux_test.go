package reactor_test

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/reactor"
)

// I5: a hot ring is looked at between turns. Close waits for the end of such a look:
// after it the ring is the closer's.
func TestInvariant05CloseWaitsForALookWithRealRings(t *testing.T) {
	g := newRig(t, reactor.WithSpin(time.Hour))
	r := newRing[uint64](g, 10)
	c := &checker{rx: r.rx}
	var hold, inside atomic.Bool
	var looks atomic.Int64
	begun, goOn := make(chan bool), make(chan bool)
	reg := g.attach(&hooked{Source: r.rx, pending: func() {
		if looks.Add(1); hold.CompareAndSwap(true, false) {
			inside.Store(true)
			begun <- true
			<-goOn
			inside.Store(false)
		}
	}}, c.taking(t, 10))
	g.run()
	until(t, "hot", func() bool { return looks.Load() > 3 })
	hold.Store(true)
	<-begun
	closed := make(chan bool, 1)
	go func() {
		noError(t, reg.Close())
		closed <- inside.Load()
	}()
	for range 10_000 { // let it return too early, if it does
		runtime.Gosched()
	}
	close(goOn)
	require.False(t, <-closed, "Close returned while the loop was looking at the ring")
}
