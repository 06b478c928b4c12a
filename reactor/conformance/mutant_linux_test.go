package conformance

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/reactor"
)

// A mutant is a driver with one mistake, and the tests that have to find it.
type mutant struct {
	new   func(t testing.TB, opts ...reactor.Option) Loop
	found []string
}

// The suite finds mistakes: each of these drivers fails the tests that are named.
func TestSuiteFindsMistakes(t *testing.T) {
	defer func(d time.Duration) { patience = d }(patience)
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			for _, found := range m.found {
				// What is to hang needs no patience; what is not to hang, all of it.
				patience = 300 * time.Millisecond
				failures := m.run(t, found)
				require.NotEmpty(t, failures, "%s did not find it", found)
				t.Logf("%s: %s", found, failures[0])
			}
		})
	}
}

// Without a mistake the same drivers pass.
func TestSuiteFindsNoMistakeInSoundDrivers(t *testing.T) {
	named := map[string]bool{}
	for _, m := range mutants {
		for _, found := range m.found {
			named[found] = true
		}
	}
	for name, m := range map[string]mutant{"host": hosted(defects{}), "wrapped": wrapped(wrap{})} {
		t.Run(name, func(t *testing.T) {
			for found := range named {
				require.Empty(t, m.run(t, found), found)
			}
		})
	}
}

func (m mutant) run(t *testing.T, name string) (failures []string) {
	for _, c := range tests {
		if c.name == name {
			return record(t, func(t testing.TB) { c.run(newRig(t, Driver{New: m.new}, variants[0])) })
		}
	}
	require.FailNow(t, "no such test", name)
	return nil
}

var mutants = map[string]mutant{
	"some edges are lost":         hosted(defects{dropEdge: 20}, "WakeUps", "ManyAtOnce"),
	"some wake-ups are lost":      hosted(defects{dropWake: 20}, "ResumeLooks"),
	"the last edge waits":         hosted(defects{lateTurn: true}, "WakeUps", "PartialConsumption"),
	"spent budgets are forgotten": hosted(defects{ignoreBusy: true}, "PartialConsumption", "Fairness", "CleanEnd"),
	"doorbells stay in the set":   hosted(defects{keepWatch: true}, "AttachAgain"),

	"what is left gets no turn": mutated(forgetful, "PartialConsumption", "EdgeInTurn"),
	"no turn without an edge":   mutated(edgesOnly, "OlderThanAttach"),
	"a turn takes all":          mutated(greedy, "Fairness"),
	"errors are swallowed":      mutated(swallows, "ReadyFails", "SourceFails", "Poison", "CleanEnd", "KilledSender", "KilledReceiver"),
	"panics are swallowed":      mutated(recovers, "Panics"),
	"Closed is called twice":    mutated(closesTwice, "ReadyFails", "CleanEnd", "KilledReceiver", "LoopClose"),
	"Closed is not called":      mutated(tellsNobody, "ReadyFails", "LoopClose", "LoopCloseInCallback"),

	"an error ends all":             wrapped(wrap{endsAll: true}, "ReadyFails", "Poison", "KilledSender"),
	"Closed comes with Close":       wrapped(wrap{tells: true}, "CloseMatrix"),
	"Close does not wait":           wrapped(wrap{closesLate: true}, "CloseWaitsForTurn", "CloseMatrix"),
	"Close does nothing":            wrapped(wrap{keeps: true}, "CloseMatrix", "CloseChurn", "AttachAgain"),
	"Pause does nothing":            wrapped(wrap{runsOn: true}, "Pause", "PauseInTurn"),
	"Resume does not look":          wrapped(wrap{sleepsOn: true}, "Pause", "ResumeLooks", "Backpressure"),
	"posts overtake":                wrapped(wrap{overtakes: true}, "Posts"),
	"posts are lost at the end":     wrapped(wrap{losesPosts: true}, "PostsBeforeClose"),
	"Close of the loop is not over": wrapped(wrap{loopClosesLate: true}, "LoopClose", "LoopCloseByMany"),
	"Close of the loop fails twice": wrapped(wrap{loopClosesOnce: true}, "LoopClose"),
}

// mutated has a Loop that treats sources and handlers in another way.
func mutated(mutate func(reactor.Source, reactor.Handler) (reactor.Source, reactor.Handler), found ...string) mutant {
	return wrapped(wrap{mutate: mutate}, found...)
}

func hosted(d defects, found ...string) mutant {
	return mutant{func(t testing.TB, opts ...reactor.Option) Loop { return newHost(t, d, opts...) }, found}
}

func wrapped(w wrap, found ...string) mutant {
	return mutant{func(t testing.TB, opts ...reactor.Option) Loop {
		l := &wrappedLoop{wrap: w, Loop: newReactor(t, opts...)}
		t.Cleanup(l.late.Wait)
		return l
	}, found}
}

// source is a Source of functions.
type source struct {
	reactor.Source
	pending, arm func() (bool, error)
}

func (s source) Pending() (bool, error) { return s.pending() }
func (s source) Arm() (bool, error)     { return s.arm() }

func forgetful(s reactor.Source, h reactor.Handler) (reactor.Source, reactor.Handler) {
	forget := func(f func() (bool, error)) func() (bool, error) {
		return func() (bool, error) {
			_, err := f()
			return false, err
		}
	}
	return source{s, forget(s.Pending), forget(s.Arm)}, h
}

func edgesOnly(s reactor.Source, h reactor.Handler) (reactor.Source, reactor.Handler) {
	turns := 0
	ready := h.Ready
	h.Ready = func(ev reactor.Event) error {
		if turns++; turns == 1 {
			return nil
		}
		return ready(ev)
	}
	hide := func(f func() (bool, error)) func() (bool, error) {
		return func() (bool, error) {
			if turns == 1 {
				return false, nil
			}
			return f()
		}
	}
	return source{s, hide(s.Pending), hide(s.Arm)}, h
}

func greedy(s reactor.Source, h reactor.Handler) (reactor.Source, reactor.Handler) {
	ready := h.Ready
	h.Ready = func(ev reactor.Event) error {
		for range 1000 {
			if err := ready(ev); err != nil {
				return err
			}
			if more, err := s.Pending(); !more || err != nil {
				return err
			}
		}
		return nil
	}
	return s, h
}

func swallows(s reactor.Source, h reactor.Handler) (reactor.Source, reactor.Handler) {
	ready := h.Ready
	h.Ready = func(ev reactor.Event) error {
		_ = ready(ev)
		return nil
	}
	swallow := func(f func() (bool, error)) func() (bool, error) {
		return func() (bool, error) {
			more, _ := f()
			return more, nil
		}
	}
	return source{s, swallow(s.Pending), swallow(s.Arm)}, h
}

func recovers(s reactor.Source, h reactor.Handler) (reactor.Source, reactor.Handler) {
	ready := h.Ready
	h.Ready = func(ev reactor.Event) error {
		defer func() { _ = recover() }()
		return ready(ev)
	}
	return s, h
}

func closesTwice(s reactor.Source, h reactor.Handler) (reactor.Source, reactor.Handler) {
	closed := h.Closed
	h.Closed = func(err error) {
		closed(err)
		closed(err)
	}
	return s, h
}

func tellsNobody(s reactor.Source, h reactor.Handler) (reactor.Source, reactor.Handler) {
	h.Closed = nil
	return s, h
}

// wrap says what a wrappedLoop does wrong.
type wrap struct {
	mutate                         func(reactor.Source, reactor.Handler) (reactor.Source, reactor.Handler)
	endsAll                        bool
	tells, closesLate, keeps       bool // Registration.Close
	runsOn, sleepsOn               bool // Pause and Resume
	overtakes, losesPosts          bool
	loopClosesLate, loopClosesOnce bool
}

type wrappedLoop struct {
	wrap
	Loop
	late    sync.WaitGroup
	mu      sync.Mutex
	regs    []Registration
	held    func()
	closing bool
	lost    int
}

func (l *wrappedLoop) Attach(s reactor.Source, h reactor.Handler) (Registration, error) {
	if s == nil || h.Ready == nil {
		return l.Loop.Attach(s, h)
	}
	if l.mutate != nil {
		s, h = l.mutate(s, h)
	}
	r := &wrappedRegistration{loop: l, closed: h.Closed}
	ready, plain := h.Ready, s
	h.Ready = func(ev reactor.Event) error {
		if r.paused.Load() {
			return nil
		}
		err := ready(ev)
		if err != nil && l.endsAll {
			l.endAll()
		}
		return err
	}
	hide := func(f func() (bool, error)) func() (bool, error) {
		return func() (bool, error) {
			if r.paused.Load() {
				return false, nil
			}
			return f()
		}
	}
	if l.sleepsOn {
		s = source{plain, hide(plain.Pending), hide(plain.Arm)}
	}
	reg, err := l.Loop.Attach(s, h)
	if err != nil {
		return nil, err
	}
	r.Registration = reg
	l.mu.Lock()
	defer l.mu.Unlock()
	l.regs = append(l.regs, reg)
	return r, nil
}

func (l *wrappedLoop) endAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.regs {
		_ = r.Close()
	}
}

func (l *wrappedLoop) Post(f func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case f == nil:
	case l.losesPosts && l.closing && l.lost < 100:
		l.lost++
		return nil
	case l.overtakes && l.held == nil:
		l.held = f
		return nil
	case l.overtakes:
		first := l.held
		l.held = nil
		return errors.Join(l.Loop.Post(f), l.Loop.Post(first))
	}
	return l.Loop.Post(f)
}

func (l *wrappedLoop) Close() error {
	l.mu.Lock()
	again := l.closing
	l.closing = true
	l.mu.Unlock()
	switch {
	case again && l.loopClosesOnce:
		return errTest
	case l.loopClosesLate:
		l.late.Go(func() {
			runtime.Gosched()
			_ = l.Loop.Close()
		})
		return nil
	}
	return l.Loop.Close()
}

type wrappedRegistration struct {
	Registration
	loop   *wrappedLoop
	closed func(error)
	paused atomic.Bool
}

func (r *wrappedRegistration) Close() error {
	switch {
	case r.loop.keeps:
		return nil
	case r.loop.closesLate:
		return r.loop.Loop.Post(func() { _ = r.Registration.Close() })
	}
	err := r.Registration.Close()
	if r.loop.tells {
		r.closed(nil)
	}
	return err
}

func (r *wrappedRegistration) Pause() {
	switch {
	case r.loop.sleepsOn:
		r.paused.Store(true)
	case !r.loop.runsOn:
		r.Registration.Pause()
	}
}

func (r *wrappedRegistration) Resume() error {
	if r.loop.sleepsOn {
		r.paused.Store(false)
		return nil
	}
	return r.Registration.Resume()
}
