package gnetring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/panjf2000/ants/v2"
	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/pool/goroutine"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/reactor/conformance"
	"github.com/shmloop/shmloop/sharedring"
)

func TestMain(m *testing.M) {
	roles := conformance.Roles()
	maps.Copy(roles, map[string]proctest.Role{"peer": peerRole, "pinger": pingerRole, "client": clientRole, "inject": injectRole})
	shortenWorkers()
	proctest.Main(m, roles)
}

// shortenWorkers gives gnet a pool like its own whose idle goroutines end after a moment
// instead of 10 s, so that none of them is taken for a leak.
func shortenWorkers() {
	old := goroutine.DefaultWorkerPool
	pool, err := ants.NewPool(old.Cap(), ants.WithNonblocking(true), ants.WithExpiryDuration(50*time.Millisecond))
	if err != nil {
		panic(err)
	}
	goroutine.DefaultWorkerPool = pool
	old.Release()
}

// silence is a logger for gnet.
type silence struct{}

func (silence) Debugf(string, ...any) {}
func (silence) Infof(string, ...any)  {}
func (silence) Warnf(string, ...any)  {}
func (silence) Errorf(string, ...any) {}
func (silence) Fatalf(string, ...any) {}

// hooks is a gnet.EventHandler made of functions, any of which may be nil.
type hooks struct {
	gnet.BuiltinEventEngine
	rings    *Rings // those that call
	boot     func(gnet.Engine)
	open     func(gnet.Conn) ([]byte, gnet.Action)
	traffic  func(gnet.Conn) gnet.Action
	close    func(gnet.Conn, error) gnet.Action
	shutdown func()
	tick     func() (time.Duration, gnet.Action)
}

func (h *hooks) OnBoot(e gnet.Engine) gnet.Action {
	h.boot(e)
	return gnet.None
}

func (h *hooks) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	if h.open == nil {
		return nil, gnet.None
	}
	return h.open(c)
}

func (h *hooks) OnTraffic(c gnet.Conn) gnet.Action {
	if h.traffic == nil {
		_, _ = c.Discard(-1)
		return gnet.None
	}
	return h.traffic(c)
}

func (h *hooks) OnClose(c gnet.Conn, err error) gnet.Action {
	if h.close == nil {
		return gnet.None
	}
	return h.close(c, err)
}

func (h *hooks) OnShutdown(gnet.Engine) {
	if h.shutdown != nil {
		h.shutdown()
	}
}

func (h *hooks) OnTick() (time.Duration, gnet.Action) { return h.tick() }

// program is an engine that runs.
type program struct {
	*Rings
	t       testing.TB
	network string
	address string
	engine  gnet.Engine
	first   atomic.Pointer[gnet.Conn] // of start, not shown to the handler
	opened  chan gnet.Conn            // connections, after the handler's OnOpen
	closed  chan gnet.Conn            // after its OnClose
	ended   chan error
	stop    sync.Once
}

// run starts an engine at a unix address, which ends with the test, and waits until it
// serves.
func run(t testing.TB, h *hooks, opts []Option, engineOpts ...gnet.Option) *program {
	dir, err := os.MkdirTemp("", "gnet") // gnet cannot have the # of some tests' names
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return runAt(t, "unix", filepath.Join(dir, "s"), h, opts, engineOpts...)
}

func runAt(t testing.TB, network, address string, h *hooks, opts []Option, engineOpts ...gnet.Option) *program {
	p := &program{
		t: t, network: network, address: address, ended: make(chan error, 1),
		opened: make(chan gnet.Conn, 1000), closed: make(chan gnet.Conn, 1000),
	}
	seen := *h
	seen.boot = func(e gnet.Engine) {
		p.engine = e
		if h.boot != nil {
			h.boot(e)
		}
	}
	seen.open = func(c gnet.Conn) (out []byte, action gnet.Action) {
		if !p.first.CompareAndSwap(nil, &c) && h.open != nil {
			out, action = h.open(c)
		}
		p.opened <- c
		return out, action
	}
	seen.close = func(c gnet.Conn, err error) (action gnet.Action) {
		if c != *p.first.Load() && h.close != nil {
			action = h.close(c, err)
		}
		p.closed <- c
		return action
	}
	p.Rings = Wrap(&seen, opts...)
	h.rings = p.Rings
	p.start(engineOpts...)
	return p
}

func (p *program) start(opts ...gnet.Option) {
	opts = append([]gnet.Option{gnet.WithLogger(silence{})}, opts...)
	go func() { p.ended <- gnet.Run(p.Rings, p.network+"://"+p.address, opts...) }()
	p.t.Cleanup(p.shutDown)
	for { // gnet does not tell when it listens
		c, err := net.Dial(p.network, p.address)
		if err == nil {
			<-p.opened
			require.NoError(p.t, c.Close())
			<-p.closed
			return
		}
		require.True(p.t, errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED), "%v", err)
		select {
		case err := <-p.ended:
			p.t.Fatalf("the engine ended: %v", err)
		default:
		}
	}
}

// shutDown stops the engine and waits for its end.
func (p *program) shutDown() {
	p.stop.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // Stop itself would look every half a second
		_ = p.engine.Stop(ctx)
		require.NoError(p.t, <-p.ended)
	})
}

// dial makes a connection and returns both ends.
func (p *program) dial() (net.Conn, gnet.Conn) {
	c, err := net.Dial(p.network, p.address)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { c.Close() })
	return c, <-p.opened
}

// loop returns the rings of an event loop that has shown itself.
func (p *program) loop() *Loop {
	_, c := p.dial()
	l, err := p.Loop(c.EventLoop())
	require.NoError(p.t, err)
	done := make(chan bool)
	require.NoError(p.t, l.Post(func() { close(done) }))
	<-done
	for p.flights.any() { // both sides of its bell
		runtime.Gosched()
	}
	return l
}

// on runs f on the event loop of c, as a task of gnet's, and waits for it.
func on(t testing.TB, el gnet.EventLoop, f func()) {
	done := make(chan bool)
	require.NoError(t, el.Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
		defer close(done)
		f()
		return nil
	})))
	<-done
}

// routeOf makes rings for a route. near is for the event loop.
type routeOf struct {
	Route
	make func(capacity, itemSize int) (near, far sharedring.Handle, err error)
}

var routes = []routeOf{
	{RouteEventfd, eventfdRing}, {RouteRelay, eventfdRing}, {RouteSocket, socketRing},
}

func eventfdRing(capacity, itemSize int) (near, far sharedring.Handle, err error) {
	if near, err = sharedring.Create(capacity, itemSize); err != nil {
		return near, far, err
	}
	far, err = near.Dup()
	return near, far, err
}

// rings makes a ring whose receiver is for the event loop.
func (r routeOf) rings(t testing.TB, capacity int) (*sharedring.Receiver[uint64], *sharedring.Sender[uint64]) {
	near, far, err := r.make(capacity, 8)
	require.NoError(t, err)
	rx, err := sharedring.OpenReceiver[uint64](near)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, rx.Close()) })
	tx, err := sharedring.OpenSender[uint64](far)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tx.Close()) })
	return rx, tx
}

// collector receives into a channel and tells of its end.
type collector struct {
	rx     *sharedring.Receiver[uint64]
	got    chan uint64
	closed chan error
}

func collect(rx *sharedring.Receiver[uint64]) *collector {
	return &collector{rx: rx, got: make(chan uint64, 10_000), closed: make(chan error, 10)}
}

func (k *collector) handler() reactor.Handler {
	return reactor.Handler{
		Ready: func(reactor.Event) error {
			buf := make([]uint64, 16)
			n, err := k.rx.Receive(buf)
			for _, v := range buf[:n] {
				k.got <- v
			}
			return err
		},
		Closed: func(err error) { k.closed <- err },
	}
}

func (k *collector) want(t testing.TB, items ...uint64) {
	t.Helper()
	for _, v := range items {
		require.Equal(t, v, k.next(t))
	}
}

func (k *collector) next(t testing.TB) uint64 {
	t.Helper()
	select {
	case v := <-k.got:
		return v
	case err := <-k.closed:
		k.closed <- err
	case <-time.After(time.Minute):
		t.Fatal("nothing comes")
	}
	select { // what came before the end
	case v := <-k.got:
		return v
	default:
		t.Fatalf("closed: %v", <-k.closed)
		return 0
	}
}

func send(t testing.TB, tx *sharedring.Sender[uint64], items ...uint64) {
	t.Helper()
	n, err := tx.Send(items)
	require.NoError(t, err)
	require.Equal(t, len(items), n)
}

// startPeer starts a process that sends items to the ring of h, which it takes over.
func startPeer(t testing.TB, h sharedring.Handle, items ...string) *proctest.Process {
	var files []*os.File
	for _, fd := range []int{h.Memory, h.EmptySignal, h.FullSignal} {
		f := os.NewFile(uintptr(fd), "ring")
		defer f.Close()
		files = append(files, f)
	}
	return proctest.Start(t, "peer", files, append([]string{strconv.Itoa(h.Capacity)}, items...)...)
}

// peerRole sends the items of its arguments, and 99 when its standard input ends.
func peerRole(args []string) int {
	if err := peer(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func peer(args []string) error {
	capacity, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	tx, err := sharedring.OpenSender[uint64](sharedring.Handle{Capacity: capacity, ItemSize: 8, Memory: 3, EmptySignal: 4, FullSignal: 5})
	if err != nil {
		return err
	}
	for _, arg := range args[1:] {
		v, err := strconv.ParseUint(arg, 10, 64)
		if err != nil {
			return err
		}
		if _, err := tx.SendContext(context.Background(), []uint64{v}); err != nil {
			return err
		}
	}
	_, _ = io.ReadAll(os.Stdin)
	_, err = tx.Send([]uint64{99})
	return errors.Join(err, tx.Close())
}
