// Package conformance is one suite of tests for all that services rings: a
// reactor.Loop on its own goroutine, and each of the adapters that run rings inside
// another event loop. It uses real rings, and peers in other processes where
// their death or the memory between the processes is the point.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { proctest.Main(m, conformance.Roles()) }
//
//	func TestConformanceMine(t *testing.T) {
//		conformance.Run(t, conformance.Driver{New: newMine})
//	}
package conformance

import (
	"testing"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// A Driver says how to make what is tested.
type Driver struct {
	// New makes a loop that services rings from now on, with no further call by the
	// suite. What it needs beside Loop.Close to leave nothing behind it gives to
	// t.Cleanup; the suite closes the loop before that runs. The options
	// are reactor.WithSpin and reactor.WithNap, or none.
	New func(t testing.TB, opts ...reactor.Option) Loop

	// NeverHot says that the loop puts every ring to sleep that is dry, whatever the
	// options: then one variant is enough.
	NeverHot bool

	// Ring makes a ring: near is for the loop's side, far for the peer. nil stands for
	// sharedring.Create.
	Ring func(capacity, itemSize int) (near, far sharedring.Handle, err error)
}

// A Loop is what is tested, with the promises of the methods of reactor.Loop that
// have these names. All its callbacks, posts included, run on one goroutine
// at a time. Its methods may be called from any goroutine and inside callbacks.
type Loop interface {
	Attach(s reactor.Source, h reactor.Handler) (Registration, error)
	Post(f func()) error
	Close() error
}

// A Registration makes the promises of reactor.Registration.
type Registration interface {
	Close() error
	Pause()
	Resume() error
}

var _ Registration = (*reactor.Registration)(nil)

// Native is a Loop whose Attach returns the Registration of package reactor.
type Native interface {
	Attach(s reactor.Source, h reactor.Handler) (*reactor.Registration, error)
	Post(f func()) error
	Close() error
}

// Of makes a Loop of l.
func Of(l Native) Loop { return of{l} }

type of struct{ Native }

func (o of) Attach(s reactor.Source, h reactor.Handler) (Registration, error) {
	r, err := o.Native.Attach(s, h)
	if err != nil {
		return nil, err // a nil *Registration would not be a nil Registration
	}
	return r, nil
}
