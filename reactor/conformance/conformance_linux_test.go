package conformance

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/reactor"
)

func TestMain(m *testing.M) { proctest.Main(m, Roles()) }

// newReactor is a reactor.Loop on a goroutine of its own.
func newReactor(t testing.TB, opts ...reactor.Option) Loop {
	l, err := reactor.NewLoop(opts...)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- l.Run(context.Background()) }()
	t.Cleanup(func() { require.ErrorIs(t, <-done, reactor.ErrClosed) })
	return Of(l)
}

func TestConformanceReactor(t *testing.T) { Run(t, Driver{New: newReactor}) }
