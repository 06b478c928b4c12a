package epoll

import (
	"errors"
	"runtime"
	"testing"

	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"github.com/panjf2000/gnet/v2/pkg/queue"
	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/reactor/conformance"
)

// gnet's poller is an epoll loop of somebody else's, to which one can add descriptors but
// whose epoll set one does not see. Built with -tags poll_opt it keeps pointers in
// the data of its events, else descriptors.

// foreign is a loop that calls ready on its goroutine while fd is readable, until the end
// of the test.
func foreign(t testing.TB, fd int, edges bool, ready func()) {
	p, err := netpoll.OpenPoller()
	require.NoError(t, err)
	attached := &netpoll.PollAttachment{FD: fd, Callback: func(_ int, ev netpoll.IOEvent, _ netpoll.IOFlags) error {
		if netpoll.IsReadEvent(ev) {
			ready()
		}
		return nil
	}}
	require.NoError(t, p.AddRead(attached, edges))
	done := make(chan error, 1)
	go func() { done <- polling(p, attached) }()
	t.Cleanup(func() {
		require.NoError(t, p.Trigger(queue.HighPriority, func(any) error { return gneterrors.ErrEngineShutdown }, nil))
		require.ErrorIs(t, <-done, gneterrors.ErrEngineShutdown)
		require.NoError(t, p.Close())
		runtime.KeepAlive(attached) // the kernel's pointer to it is none that Go knows
	})
}

// A reactor.Loop is one more descriptor of the foreign loop.
func TestConformanceInForeignLoop(t *testing.T) {
	for name, edges := range map[string]bool{"level": false, "edge": true} {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, conformance.Driver{NeverHot: true, New: func(t testing.TB, opts ...reactor.Option) conformance.Loop {
				l, err := reactor.NewLoop(opts...)
				require.NoError(t, err)
				foreign(t, l.FD(), edges, func() {
					for {
						n, err := l.Poll(0)
						if err != nil && !errors.Is(err, reactor.ErrClosed) {
							t.Errorf("poll: %v", err)
						}
						if n == 0 || !edges {
							return
						}
					}
				})
				return conformance.Of(l)
			}})
		})
	}
}

// A program's own epoll set, with a Nested and with sockets in it, is one more descriptor of
// the foreign loop.
func TestConformanceNestedInForeignLoop(t *testing.T) {
	conformance.Run(t, conformance.Driver{NeverHot: true, New: func(t testing.TB, opts ...reactor.Option) conformance.Loop {
		p := newProgram(t)
		n, err := NewNested(p.epfd, opts...)
		require.NoError(t, err)
		foreign(t, p.epfd, false, func() { p.step(n, 0) })
		return conformance.Of(n)
	}})
}
