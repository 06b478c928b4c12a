package handoff

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPendingEvictsOldestOfHeaviestUID(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(uid uint32, ms int) *silence {
		return &silence{sock: new(net.UnixConn), uid: uid, since: start.Add(time.Duration(ms) * time.Millisecond)}
	}
	var p pending
	honest, first, second := at(1, 0), at(2, 1), at(2, 2)
	for _, s := range []*silence{honest, first, second} {
		p.enter(s)
	}

	wait, ok := p.evict(start.Add(evictAfter))
	require.True(t, ok)
	require.Equal(t, time.Millisecond, wait, "too young to be evicted")

	late := start.Add(time.Hour)
	_, ok = p.evict(late)
	require.True(t, ok)
	require.Equal(t, ReasonBusy, p.leave(first))
	require.Equal(t, ReasonNone, honest.interrupted, "older, but its uid has fewer")

	_, ok = p.evict(late)
	require.True(t, ok)
	require.Equal(t, ReasonBusy, p.leave(honest), "now the oldest of equals")
	require.Equal(t, ReasonNone, p.leave(second))

	_, ok = p.evict(late)
	require.False(t, ok, "nobody is silent")
}

func TestPendingCloseInterruptsAll(t *testing.T) {
	var p pending
	before, after := &silence{sock: new(net.UnixConn)}, &silence{sock: new(net.UnixConn)}
	p.enter(before)
	p.closeAll()
	p.enter(after)
	require.Equal(t, ReasonClosing, p.leave(before))
	require.Equal(t, ReasonClosing, p.leave(after))
}

func TestPendingAcquireEndsWhenClosing(t *testing.T) {
	p := pending{slots: make(chan struct{}, 1)}
	closing := make(chan struct{})
	require.True(t, p.acquire(closing))
	close(closing)
	require.False(t, p.acquire(closing))
	p.release()
	require.True(t, p.acquire(make(chan struct{})))
}
