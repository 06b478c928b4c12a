package server

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/sharedring"
)

// The heap of an idle connection, all packages together: socket, lifeline, ring end
// and registrations too.
func TestHeapOfAConnection(t *testing.T) {
	const n = 200
	r := start(t, sink(), Config{Loops: 2, Rings: []sharedring.Option{sharedring.WithoutPrefault()}})
	before := heap()
	p := r.role("many", fmt.Sprint(n))
	until(t, func() bool { return r.Stats().Items == 10*n })
	each := (heap() - before) / n
	t.Logf("%d bytes of heap for a connection", each)
	require.Less(t, each, int64(4<<10))
	require.NoError(t, p.Kill())
	for range n {
		require.Error(t, r.closed())
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
