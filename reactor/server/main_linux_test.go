package server

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

// patience ends a test that hangs; nothing is measured with it.
const patience = time.Minute

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Role{
		"send": role(sendRole), "receive": role(receiveRole), "echo": role(echoRole),
		"many": role(manyRole), "corrupt": role(corruptRole), "silent": role(silentRole),
	})
}

// running is a server that runs until the end of the test.
type running struct {
	*Server[uint64]
	t      testing.TB
	path   string
	cancel context.CancelFunc
	served chan error
	closes chan closing // from the callback Close
}

type closing struct {
	conn *Conn[uint64]
	err  error
}

// start runs a server; Close is told to running.closes too.
func start(t testing.TB, h Handler[uint64], cfg Config) *running {
	dir, err := os.MkdirTemp("", "server") // t.TempDir may be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &running{t: t, path: filepath.Join(dir, "s"), served: make(chan error, 1), closes: make(chan closing, 1000)}
	tell := h.Close
	h.Close = func(c *Conn[uint64], err error) {
		r.closes <- closing{c, err}
		if tell != nil {
			tell(c, err)
		}
	}
	r.Server, err = New(h, cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.served <- r.Serve(ctx, r.path) }()
	select {
	case <-r.Listening():
	case err := <-r.served:
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		cancel()
		<-r.ended
		st := r.Stats()
		require.Zero(t, st.Open)
		require.Equal(t, st.Opened, st.Clean+st.Crashed+st.Poisoned+st.Failed+st.Closed)
		require.Zero(t, st.Reactor.Registered)
	})
	return r
}

// closed waits for the next end of a connection.
func (r *running) closed() error { return await(r.t, r.closes).err }

func (r *running) role(name string, args ...string) *proctest.Process {
	return proctest.Start(r.t, name, nil, append([]string{r.path}, args...)...)
}

func await[V any](t testing.TB, from <-chan V) (v V) {
	select {
	case v = <-from:
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
	}
	return v
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// until waits for what no channel tells.
func until(t testing.TB, what func() bool) {
	for end := time.Now().Add(patience); !what(); runtime.Gosched() {
		require.True(t, time.Now().Before(end), "it does not happen")
	}
}

// do runs f on the loop of c, after the turns that are under way.
func (c *Conn[T]) do(t testing.TB, f func()) {
	done := make(chan bool)
	require.NoError(t, c.Loop().Post(func() {
		defer close(done)
		f()
	}))
	await(t, done)
}

// sink receives, checks that the items are 0, 1, 2, ..., and tells how many came.
func sink() Handler[uint64] {
	return Handler[uint64]{Open: func(c *Conn[uint64]) error {
		c.Data = new(uint64)
		return nil
	}, Ready: func(c *Conn[uint64]) error {
		var buf [64]uint64
		n, err := c.Receive(buf[:])
		next := c.Data.(*uint64)
		for _, v := range buf[:n] {
			if v != *next {
				return fmt.Errorf("item %d came where %d was due", v, *next)
			}
			*next++
		}
		return err
	}}
}

func (c closing) received() int { return int(*c.conn.Data.(*uint64)) }

// client is the other side of a connection, in this process or a role.
type client struct {
	*handoff.Conn
	tx *sharedring.Sender[uint64]
	rx *sharedring.Receiver[uint64]
}

func connect(ctx context.Context, path string, d handoff.Direction, capacity int) (*client, error) {
	conn, err := handoff.Dial(ctx, path, handoff.Request{ItemSize: 8, Capacity: capacity, Direction: d})
	if err != nil {
		return nil, err
	}
	c := &client{Conn: conn}
	if d&handoff.Out != 0 {
		h, err := conn.Out()
		if err != nil {
			return nil, err
		}
		if c.tx, err = sharedring.OpenSender[uint64](h); err != nil {
			return nil, err
		}
	}
	if d&handoff.In != 0 {
		h, err := conn.In()
		if err != nil {
			return nil, err
		}
		if c.rx, err = sharedring.OpenReceiver[uint64](h); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// dial is a client in this process.
func (r *running) dial(d handoff.Direction, capacity int) *client {
	c, err := connect(testContext(r.t), r.path, d, capacity)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { require.NoError(r.t, c.end()) })
	return c
}

// end is a clean one.
func (c *client) end() error {
	var errs []error
	if c.tx != nil {
		errs = append(errs, c.tx.Close())
	}
	if c.rx != nil {
		errs = append(errs, c.rx.Close())
	}
	return errors.Join(append(errs, c.Close())...)
}

// sendUpTo sends from, from+1, ..., to-1.
func (c *client) sendUpTo(ctx context.Context, from, to int) error {
	batch := make([]uint64, 0, 100)
	for i := from; i < to; i++ {
		batch = append(batch, uint64(i))
		if len(batch) == cap(batch) || i == to-1 {
			if _, err := c.tx.SendContext(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return nil
}

// receiveUpTo expects from, from+1, ..., to-1.
func (c *client) receiveUpTo(ctx context.Context, from, to int) error {
	buf := make([]uint64, 100)
	for next := from; next < to; {
		n, err := c.rx.ReceiveContext(ctx, buf[:min(len(buf), to-next)])
		if err != nil {
			return err
		}
		for _, v := range buf[:n] {
			if v != uint64(next) {
				return fmt.Errorf("item %d came where %d was due", v, next)
			}
			next++
		}
	}
	return nil
}

// fill sends until the ring takes no more, and returns how many it took.
func (c *client) fill() (int, error) {
	for n := 0; ; n++ {
		sent, err := c.tx.Send([]uint64{uint64(n)})
		if sent == 0 || err != nil {
			return n, err
		}
	}
}

// role is a proctest.Role with the path of the server and a number.
func role(f func(ctx context.Context, path string, n int) error) proctest.Role {
	return func(args []string) int {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		n, err := strconv.Atoi(args[1])
		if err == nil {
			err = f(ctx, args[0], n)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
}

// sendRole sends n items, says so, and ends when its standard input does.
func sendRole(ctx context.Context, path string, n int) error {
	c, err := connect(ctx, path, handoff.Out, 128)
	if err != nil {
		return err
	}
	if err := c.sendUpTo(ctx, 0, n); err != nil {
		return err
	}
	fmt.Println("sent")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return c.end()
}

func receiveRole(ctx context.Context, path string, n int) error {
	c, err := connect(ctx, path, handoff.In, 128)
	if err != nil {
		return err
	}
	return errors.Join(c.receiveUpTo(ctx, 0, n), c.end())
}

func echoRole(ctx context.Context, path string, n int) error {
	c, err := connect(ctx, path, handoff.Duplex, 64)
	if err != nil {
		return err
	}
	sent := make(chan error)
	go func() { sent <- c.sendUpTo(ctx, 0, n) }()
	err = c.receiveUpTo(ctx, 0, n)
	return errors.Join(err, <-sent, c.end())
}

// manyRole has n connections open at once, sends 10 items on each, and ends when
// its standard input does.
func manyRole(ctx context.Context, path string, n int) error {
	var all []*client
	for range n {
		c, err := connect(ctx, path, handoff.Out, 16)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	for _, c := range all {
		if err := c.sendUpTo(ctx, 0, 10); err != nil {
			return err
		}
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, c := range all {
		if err := c.end(); err != nil {
			return err
		}
	}
	return nil
}

// corruptRole sends item 0, and at a line of input writes a count that cannot be,
// rings, and stays.
func corruptRole(ctx context.Context, path string, _ int) error {
	conn, err := handoff.Dial(ctx, path, handoff.Request{ItemSize: 8, Capacity: 16, Direction: handoff.Out})
	if err != nil {
		return err
	}
	h, err := conn.Out()
	if err != nil {
		return err
	}
	again, err := h.Dup()
	if err != nil {
		return err
	}
	f, err := memfd.Open(again.Memory)
	if err != nil {
		return err
	}
	m, err := f.Map(int(f.Size()))
	if err != nil {
		return err
	}
	tx, err := sharedring.OpenSender[uint64](h)
	if err != nil {
		return err
	}
	if _, err := tx.Send([]uint64{0}); err != nil {
		return err
	}
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	binary.NativeEndian.PutUint64(m.Bytes(), 1<<40)
	_, err = unix.Write(again.EmptySignal, binary.NativeEndian.AppendUint64(nil, 1))
	_, _ = io.Copy(io.Discard, os.Stdin)
	return err
}

// silentRole sends item 0; at a line of input it sends 1 to n-1 without a doorbell,
// and at another it rings.
func silentRole(ctx context.Context, path string, n int) error {
	c, err := connect(ctx, path, handoff.Out, 16)
	if err != nil {
		return err
	}
	if err := c.sendUpTo(ctx, 0, 1); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	for i := 1; i < n; i++ {
		if sent, _, err := c.tx.Raw().Send([]uint64{uint64(i)}); sent != 1 || err != nil {
			return fmt.Errorf("sent %d: %w", sent, err)
		}
	}
	fmt.Println("sent")
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	if err := c.tx.Signal(); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return c.end()
}

func line(t testing.TB, p *proctest.Process, want string) {
	got, err := p.Stdout.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, want+"\n", got)
}

func say(t testing.TB, p *proctest.Process) {
	_, err := io.WriteString(p.Stdin, "\n")
	require.NoError(t, err)
}
