package gnetring

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/reactor/conformance"
	"github.com/shmloop/shmloop/sharedring"
)

func TestConformanceEventfd(t *testing.T) { conform(t, routes[0]) }
func TestConformanceRelay(t *testing.T)   { conform(t, routes[1]) }
func TestConformanceSocket(t *testing.T)  { conform(t, routes[2]) }

func conform(t *testing.T, r routeOf) {
	conformance.Run(t, conformance.Driver{
		New: func(t testing.TB, opts ...reactor.Option) conformance.Loop {
			return &conforming{t, run(t, &hooks{}, []Option{WithReactor(opts...)}).loop(), r.Route}
		},
		Ring: r.make,
	})
}

// conforming attaches all rings on one route.
type conforming struct {
	t testing.TB
	*Loop
	route Route
}

func (c *conforming) Attach(s reactor.Source, h reactor.Handler) (conformance.Registration, error) {
	r, err := c.Loop.Attach(s, h, WithRoute(c.route))
	if err != nil {
		return nil, err
	}
	require.Equal(c.t, c.route, r.Route())
	return r, nil
}

// socketRing makes the ends of either direction: near is given both doorbells of its side.
func socketRing(capacity, itemSize int) (near, far sharedring.Handle, err error) {
	sender, receiver, err := sharedring.CreatePair(capacity, itemSize, sharedring.WithSocketDoorbells())
	return receiver, sender, err
}
