package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring"
)

const manyItems = 10_000 // through rings of a few hundred

func init() {
	roles["send"] = func(args []string) int { return report(sendRole(args[0])) }
	roles["receive"] = func(args []string) int { return report(receiveRole(args[0])) }
	roles["echo"] = func(args []string) int { return report(echoRole(args[0])) }
}

func sendRole(path string) error {
	conn, err := Dial(context.Background(), path, oneRing)
	if err != nil {
		return err
	}
	defer conn.Close()
	h, err := conn.Out()
	if err != nil {
		return err
	}
	tx, err := sharedring.OpenSender[uint64](h)
	if err != nil {
		return err
	}
	defer tx.Close()
	return sendMany(context.Background(), tx)
}

func sendMany(ctx context.Context, tx *sharedring.Sender[uint64]) error {
	for i := uint64(0); i < manyItems; i += 10 {
		var batch [10]uint64
		for j := range batch {
			batch[j] = i + uint64(j)
		}
		if _, err := tx.SendContext(ctx, batch[:]); err != nil {
			return err
		}
	}
	return nil
}

func receiveRole(path string) error {
	req := oneRing
	req.Direction = In
	conn, err := Dial(context.Background(), path, req)
	if err != nil {
		return err
	}
	defer conn.Close()
	h, err := conn.In()
	if err != nil {
		return err
	}
	rx, err := sharedring.OpenReceiver[uint64](h)
	if err != nil {
		return err
	}
	defer rx.Close()
	n, err := receiveAll(context.Background(), conn, rx)
	fmt.Println(n)
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("%d items, then %w", n, err)
	}
	return nil
}

// receiveAll checks the items of sendMany until there are no more. The error is
// what ended them.
func receiveAll(ctx context.Context, conn *Conn, rx *sharedring.Receiver[uint64]) (n uint64, err error) {
	told := make(chan struct{})
	go func() {
		defer close(told)
		rx.HangUp(conn.Wait(ctx))
	}()
	defer func() { <-told }()
	var batch [64]uint64
	for {
		got, err := rx.ReceiveContext(ctx, batch[:])
		for _, v := range batch[:got] {
			if v != n {
				return n, fmt.Errorf("item %d instead of %d", v, n)
			}
			n++
		}
		if err != nil {
			return n, err
		}
	}
}

func echoRole(path string) error {
	req := oneRing
	req.Direction = Duplex
	conn, err := Dial(context.Background(), path, req)
	if err != nil {
		return err
	}
	defer conn.Close()
	rx, tx, err := openBoth(conn)
	if err != nil {
		return err
	}
	defer rx.Close()
	defer tx.Close()
	go func() { rx.HangUp(conn.Wait(context.Background())) }()
	var batch [64]uint64
	for {
		n, err := rx.ReceiveContext(context.Background(), batch[:])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			_, err = tx.SendContext(context.Background(), batch[:n])
		}
		if err != nil {
			return err
		}
	}
}

func openBoth(c *Conn) (*sharedring.Receiver[uint64], *sharedring.Sender[uint64], error) {
	in, err := c.In()
	if err != nil {
		return nil, nil, err
	}
	rx, err := sharedring.OpenReceiver[uint64](in)
	if err != nil {
		return nil, nil, err
	}
	out, err := c.Out()
	if err == nil {
		var tx *sharedring.Sender[uint64]
		if tx, err = sharedring.OpenSender[uint64](out); err == nil {
			return rx, tx, nil
		}
	}
	return nil, nil, errors.Join(err, rx.Close())
}

func openIn(t *testing.T, c *Conn) *sharedring.Receiver[uint64] {
	h, err := c.In()
	require.NoError(t, err)
	rx, err := sharedring.OpenReceiver[uint64](h)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, rx.Close()) })
	return rx
}

func openOut(t *testing.T, c *Conn) *sharedring.Sender[uint64] {
	h, err := c.Out()
	require.NoError(t, err)
	tx, err := sharedring.OpenSender[uint64](h)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tx.Close()) })
	return tx
}

func TestClientSends(t *testing.T) {
	for _, path := range []string{socketPath(t), abstractName(t)} {
		l := listen(t, path, Config{})
		p := proctest.Start(t, "send", nil, path)
		conn := accept(t, l)
		require.Equal(t, oneRing, conn.Request())
		require.Equal(t, Peer{PID: int32(p.Pid()), UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}, conn.Peer())

		n, err := receiveAll(testContext(t), conn, openIn(t, conn))
		require.ErrorIs(t, err, io.EOF, "a clean end")
		require.EqualValues(t, manyItems, n)
		require.NoError(t, p.Wait())
	}
}

func TestClientReceives(t *testing.T) {
	path := socketPath(t)
	l := listen(t, path, Config{})
	p := proctest.Start(t, "receive", nil, path)
	conn := accept(t, l)
	tx := openOut(t, conn)
	require.NoError(t, sendMany(testContext(t), tx))
	require.NoError(t, tx.Close())
	require.NoError(t, conn.Close()) // farewell: the client drains what is left

	require.NoError(t, p.Wait())
	var n int
	_, err := fmt.Fscan(p.Stdout, &n)
	require.NoError(t, err)
	require.Equal(t, manyItems, n)
}

func TestDuplexEcho(t *testing.T) {
	ctx := testContext(t)
	path := socketPath(t)
	l := listen(t, path, Config{})
	p := proctest.Start(t, "echo", nil, path)
	conn := accept(t, l)
	rx, tx, err := openBoth(conn)
	require.NoError(t, err)
	defer rx.Close()
	defer tx.Close()

	sent := make(chan error, 1)
	go func() { sent <- sendMany(ctx, tx) }()
	var n uint64
	for n < manyItems {
		var batch [64]uint64
		got, err := rx.ReceiveContext(ctx, batch[:])
		require.NoError(t, err)
		for _, v := range batch[:got] {
			require.Equal(t, n, v)
			n++
		}
	}
	require.NoError(t, <-sent)
	require.NoError(t, conn.Close())
	require.NoError(t, p.Wait(), "the client saw a clean end")
}

func TestRingsAreTakenOnce(t *testing.T) {
	server, client := pair(t, Request{ItemSize: 8, Capacity: 16, Direction: Duplex})
	for _, take := range []func() (sharedring.Handle, error){server.In, server.Out, client.In, client.Out} {
		h, err := take()
		require.NoError(t, err)
		require.Equal(t, 16, h.Capacity)
		require.NoError(t, h.Close())
		_, err = take()
		require.ErrorIs(t, err, ErrNoRing)
	}
}

func TestRingsThatWereNotAskedFor(t *testing.T) {
	server, client := pair(t, oneRing)
	_, err := server.Out()
	require.ErrorIs(t, err, ErrNoRing)
	_, err = client.In()
	require.ErrorIs(t, err, ErrNoRing)
}

func TestCloseClosesUntakenRings(t *testing.T) {
	for _, d := range []Direction{Out, In, Duplex} {
		path := socketPath(t)
		before := proctest.Take()
		l := listen(t, path, Config{})
		client := dial(t, path, Request{ItemSize: 8, Capacity: 16, Direction: d})
		server := accept(t, l)
		perRing := 3 * client.Request().rings()
		require.Equal(t, before.FDs+2+2*(2+perRing), proctest.Take().FDs, "as documented: 2 for the listener, 2 and the rings for each side")
		for range 2 { // idempotent
			require.NoError(t, client.Close())
			require.NoError(t, server.Close())
		}
		_, err := server.In()
		require.ErrorIs(t, err, sharedring.ErrClosed)
		require.Equal(t, -1, server.FD())
		require.Equal(t, -1, server.PidFD())
		closeAndCount(t, l, before)
	}
}

func TestDialRefusesBadRequestItself(t *testing.T) {
	_, err := Dial(testContext(t), socketPath(t), Request{ItemSize: 8, Capacity: 16})
	require.ErrorContains(t, err, "direction 0")
}
