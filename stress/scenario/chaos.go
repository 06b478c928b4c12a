package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/reactor/server"
	"github.com/shmloop/shmloop/stress/harness"
)

// chaos shows that whatever a client does to its ring costs that client alone.
func chaos() harness.Scenario {
	return harness.Scenario{
		Name: "chaos",
		About: "A reactor/server with one loop is fed by processes that keep the rules (-producers, with -rings in all, at -rate in all). " +
			"Beside them some are killed (SIGKILL) at any time and replaced, some stopped (SIGSTOP) and continued, and some are hostile, each in its way: " +
			"they write garbage into the ring's count, or into its messages, ring the doorbell of an empty ring in a storm, or close their lifeline and go on sending. " +
			"It fails if a message of a process that keeps the rules is lost, doubled or out of order (of a killed one: before its last send returned), " +
			"if a killed or hostile process is not noticed, or if descriptors, mappings or goroutines are left over. Latency is that of those " +
			"who are left alone, from the time at which a message was due. The processes share the machine's processors with the loop, so the " +
			"latency is mostly theirs; reactor-calm is the same without the others.",
		Sizes:    []int{recordSize},
		Defaults: harness.Params{Rings: 16, Producers: 2, Rate: 10_000, Duration: 6 * time.Second},
		Quick:    harness.Params{Duration: 1200 * time.Millisecond},
		Rounds:   4,
		Paced:    true,
		Columns:  []harness.Metric{harness.P50, harness.P99, harness.P999, harness.MessagesPerSecond, harness.ConsumerCPU},
		Headline: []harness.Metric{harness.P50, harness.P99},
		Arms: []harness.Arm{
			{Name: "reactor", About: "a reactor/server", Ours: true, Block: chaosBlock(true), Skip: chaosSkip},
			{Name: "reactor-calm", About: "the same without the killed, the stopped and the hostile", Block: chaosBlock(false), Skip: chaosSkip},
		},
	}
}

func chaosSkip(p harness.Params) string {
	if p.Rate == 0 {
		return "producers that are not paced leave no processor to the others: give a -rate"
	}
	return otherSizes(p)
}

func chaosBlock(troubled bool) func(context.Context, harness.Params) (harness.Result, error) {
	return func(ctx context.Context, p harness.Params) (r harness.Result, err error) {
		dir, err := os.MkdirTemp("", "chaos")
		if err != nil {
			return r, err
		}
		defer os.RemoveAll(dir)
		before, err := census(ctx, p)
		if err != nil {
			return r, err
		}
		w := harness.NewWindow(p)
		c := &chaosRun{p: p, path: filepath.Join(dir, "socket"), window: w, books: newBooks(w)}
		if err := c.run(ctx, troubled); err != nil {
			return r, err
		}
		if err := leftOver(before); err != nil {
			return r, err
		}
		if r, err = w.Result(); err != nil {
			return r, err
		}
		if troubled {
			r.Notes = c.summary()
		}
		return r, c.judge(&r)
	}
}

// chaosRun is one block: a server and its clients.
type chaosRun struct {
	p       harness.Params
	path    string
	window  *harness.Window
	books   *books
	clients []*client // all there ever were
	hostile []*client // of these
	served  chan error
	stops   int // SIGSTOPs
	stats   server.Stats
}

func (c *chaosRun) run(ctx context.Context, troubled bool) error {
	srv, err := server.New(server.Handler[record]{Open: c.books.open, Ready: c.books.ready, Close: c.books.close}, server.Config{Loops: 1})
	if err != nil {
		return err
	}
	c.served = make(chan error, 1)
	go func() { c.served <- srv.Serve(context.Background(), c.path) }()
	select {
	case <-srv.Listening():
	case err := <-c.served:
		return err
	}
	err = c.measure(ctx, troubled)
	err = errors.Join(err, c.endClients())
	drained, cancel := context.WithTimeout(context.Background(), stall)
	defer cancel()
	err = errors.Join(err, srv.Shutdown(drained), <-c.served)
	c.stats = srv.Stats()
	return err
}

// measure has the clients run for as long as the window is open.
func (c *chaosRun) measure(ctx context.Context, troubled bool) error {
	for i := range c.p.Producers {
		if _, err := c.start(ctx, wellBehaved, i, share(c.p.Rings, c.p.Producers, i)); err != nil {
			return err
		}
	}
	trouble, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	var all sync.WaitGroup
	defer all.Wait()
	if troubled {
		makers, err := c.troublemakers(ctx)
		if err != nil {
			return err
		}
		for _, maker := range makers {
			all.Go(func() { report(failed, maker(trouble)) })
		}
	}
	defer cancel() // before the wait
	c.window.Start(ctx)
	select {
	case <-c.window.Done():
		return c.awaitAttacks(ctx)
	case err := <-failed:
		return err
	case err := <-c.served:
		c.served <- err
		return errors.New("the server ended early")
	}
}

// awaitAttacks returns when each hostile client has made its attack. One that is not
// noticed in time ends ctx.
func (c *chaosRun) awaitAttacks(ctx context.Context) error {
	for _, cl := range c.hostile {
		for cl.board.sent.Load() == 0 {
			if !rest(ctx, time.Millisecond) {
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// troublemakers starts the clients that are not left alone or leave others not alone,
// and returns what has to be done to them until the context ends.
func (c *chaosRun) troublemakers(ctx context.Context) ([]func(context.Context) error, error) {
	for _, attack := range attacks {
		cl, err := c.start(ctx, attack.role, 0, 1)
		if err != nil {
			return nil, err
		}
		c.hostile = append(c.hostile, cl)
	}
	paused, err := c.start(ctx, stopped, 0, 1)
	if err != nil {
		return nil, err
	}
	stop := func(trouble context.Context) error { return c.stopOver(trouble, paused) }
	kill := func(trouble context.Context) error { return c.killOver(ctx, trouble) }
	return []func(context.Context) error{stop, kill}, nil
}

// stopOver stops a process and lets it go on, over and over.
func (c *chaosRun) stopOver(ctx context.Context, victim *client) error {
	for rest(ctx, 20*time.Millisecond) {
		if err := victim.peer.Signal(syscall.SIGSTOP); err != nil {
			return fmt.Errorf("stop %d: %w", victim.pid, err)
		}
		c.stops++
		rest(ctx, 50*time.Millisecond)
		if err := victim.peer.Signal(syscall.SIGCONT); err != nil {
			return fmt.Errorf("continue %d: %w", victim.pid, err)
		}
	}
	return nil
}

// killOver kills a process and starts another, over and over, until trouble ends.
func (c *chaosRun) killOver(ctx, trouble context.Context) error {
	for {
		victim, err := c.start(ctx, killed, 0, 1)
		if err != nil {
			return err
		}
		if !rest(trouble, 60*time.Millisecond) {
			return nil // and it ends as it should
		}
		victim.killed = true
		if err := victim.peer.Signal(os.Kill); err != nil {
			return fmt.Errorf("kill %d: %w", victim.pid, err)
		}
		_ = victim.peer.Stop() // says "killed"
	}
}

// rest waits for a random time up to twice d, and is false if ctx ended.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(rand.N(2*d + 1))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A client is a process that the server serves, as the block sees it.
type client struct {
	role   role
	pid    int
	peer   *harness.PeerProcess
	board  *board
	killed bool   // by us
	done   uint64 // messages that it has sent, or attacks that it has made
}

// role is what a client is up to. It tells the server in each message, for the books:
// the latencies of those who are left alone count.
type role byte

const (
	wellBehaved role = iota + 1
	stopped
	killed
	firstHostile
)

func (c *chaosRun) start(ctx context.Context, r role, index, rings int) (*client, error) {
	b, file, err := newBoard()
	if err != nil {
		return nil, err
	}
	name := honestPeer
	if r >= firstHostile {
		name = hostilePeer
	}
	peer, err := harness.StartPeer(ctx, name, c.p, []*os.File{file}, fmt.Sprint(int(r)), c.path, fmt.Sprint(index), fmt.Sprint(rings))
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, errors.Join(err, b.close())
	}
	cl := &client{role: r, pid: peer.Pid(), peer: peer, board: b}
	c.clients = append(c.clients, cl)
	return cl, nil
}

// endClients has all of them end cleanly that are still there.
func (c *chaosRun) endClients() error {
	var errs []error
	for _, cl := range c.clients {
		_ = cl.peer.Stdin.Close() // all at once
	}
	for _, cl := range c.clients {
		if err := cl.peer.Stop(); err != nil && !cl.killed {
			errs = append(errs, err)
		}
		cl.done = cl.board.sent.Load()
		errs = append(errs, cl.board.close())
	}
	return errors.Join(errs...)
}

// census counts what this process holds, when it holds all that it keeps from the
// first process on that it starts.
func census(ctx context.Context, p harness.Params) (proctest.Census, error) {
	first, err := harness.StartPeer(ctx, burnerPeer, p, nil)
	if err == nil {
		err = first.Stop()
	}
	return proctest.Take(), err
}

// leftOver fails if this process holds more than before. It allows for what takes a
// moment: goroutines on their way out, mappings that wait for the collector.
func leftOver(before proctest.Census) error {
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		runtime.GC()
		runtime.GC() // what the first one's cleanups let go of
		now := proctest.Take()
		if now.FDs <= before.FDs && now.Mappings <= before.Mappings && now.Goroutines <= before.Goroutines {
			return nil
		}
		if time.Since(start) > stall {
			return fmt.Errorf("left over: %d descriptors, %d mappings, %d goroutines; before: %d, %d, %d",
				now.FDs, now.Mappings, now.Goroutines, before.FDs, before.Mappings, before.Goroutines)
		}
	}
}

// summary is what happened.
func (c *chaosRun) summary() []string {
	kills := 0
	var made []string
	for _, cl := range c.clients {
		if cl.killed {
			kills++
		}
		if cl.role >= firstHostile {
			made = append(made, fmt.Sprintf("%d with %s", cl.done, attackOf(cl.role).name))
		}
	}
	return []string{fmt.Sprintf("A block had %d clients killed, %d stops, and attacks: %s. The server counted %d poisoned, %d died, %d ended by its handler, %d refused, %d ended cleanly.",
		kills, c.stops, strings.Join(made, ", "), c.stats.Poisoned, c.stats.Crashed, c.stats.Failed, c.stats.Refused, c.stats.Clean)}
}
