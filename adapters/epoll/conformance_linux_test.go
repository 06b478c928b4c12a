package epoll

import (
	"testing"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/reactor/conformance"
	"github.com/shmloop/shmloop/sharedring"
)

func TestConformanceDirect(t *testing.T) {
	conformance.Run(t, conformance.Driver{New: driver("direct")})
}

func TestConformanceNested(t *testing.T) {
	conformance.Run(t, conformance.Driver{New: driver("nested"), NeverHot: true})
}

func TestConformanceWithSocketDoorbells(t *testing.T) {
	for way := range ways {
		t.Run(way, func(t *testing.T) {
			conformance.Run(t, conformance.Driver{New: driver(way), NeverHot: true, Ring: socketRing})
		})
	}
}

func driver(way string) func(t testing.TB, opts ...reactor.Option) conformance.Loop {
	return func(t testing.TB, opts ...reactor.Option) conformance.Loop {
		p := newProgram(t)
		r := ways[way](p, opts...)
		p.run(r)
		return conformance.Of(r)
	}
}

func socketRing(capacity, itemSize int) (near, far sharedring.Handle, err error) {
	far, near, err = sharedring.CreatePair(capacity, itemSize, sharedring.WithSocketDoorbells())
	return near, far, err
}
