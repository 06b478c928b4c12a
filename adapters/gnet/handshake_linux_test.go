package gnetring

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
)

// service gives rings to clients and sends back what they send.
type service struct {
	*program
	clients chan *served
}

// served is a client with its rings. They are closed when they ended.
type served struct {
	*Client
	in, out  *Registration
	rx       *sharedring.Receiver[uint64]
	ends     chan error // of both
	paused   bool
	ringFail error
}

// serve runs a service, whose own protocol is an echo.
func serve(t testing.TB, cfg handoff.Config, admit func(*served) error, opts ...gnet.Option) *service {
	s := &service{clients: make(chan *served, 100)}
	s.program = run(t, &hooks{traffic: echo}, []Option{WithHandshake(cfg, func(c *Client) error {
		k := &served{Client: c, ends: make(chan error, 2)}
		if admit != nil {
			if err := admit(k); err != nil {
				return err
			}
		}
		err := k.attach()
		s.clients <- k
		return err
	})}, opts...)
	return s
}

func (k *served) attach() error {
	var tx *sharedring.Sender[uint64]
	var pending []uint64
	answer := func() error {
		n, err := tx.Send(pending)
		pending = pending[n:]
		return err
	}
	if k.Request().Direction&handoff.In != 0 {
		h, err := k.Out()
		if err != nil {
			return err
		}
		if tx, err = sharedring.OpenSender[uint64](h); err != nil {
			return err
		}
		if k.out, err = k.Attach(tx, reactor.Handler{
			Ready:  func(reactor.Event) error { return answer() },
			Closed: k.closed(tx.Close),
		}); err != nil {
			return errors.Join(err, tx.Close())
		}
	}
	if k.Request().Direction&handoff.Out == 0 {
		return nil
	}
	h, err := k.In()
	if err != nil {
		return err
	}
	rx, err := sharedring.OpenReceiver[uint64](h)
	if err != nil {
		return err
	}
	k.rx = rx
	buf := make([]uint64, 8)
	k.in, err = k.Attach(rx, reactor.Handler{
		Ready: func(reactor.Event) error {
			if k.ringFail != nil {
				return k.ringFail
			}
			n, err := rx.Receive(buf)
			if tx != nil && n > 0 {
				pending = append(pending, buf[:n]...)
				return answer()
			}
			return err
		},
		Closed: k.closed(rx.Close),
	})
	if err == nil && k.paused {
		k.in.Pause()
	}
	return err
}

func (k *served) closed(closeRing func() error) func(error) {
	return func(err error) { k.ends <- errors.Join(err, closeRing()) }
}

// forDoorbells runs f for each kind of doorbells.
func forDoorbells(t *testing.T, f func(t *testing.T, cfg handoff.Config)) {
	for _, sockets := range []bool{false, true} {
		t.Run(fmt.Sprintf("sockets=%v", sockets), func(t *testing.T) { f(t, handoff.Config{SocketDoorbells: sockets}) })
	}
}

// client is a client in this process.
type client struct {
	*handoff.Conn
	tx *sharedring.Sender[uint64]
	rx *sharedring.Receiver[uint64]
}

func (s *service) client(t testing.TB, d handoff.Direction) *client {
	c, err := dialClient(s.address, d)
	require.NoError(t, err)
	<-s.opened
	return c
}

func dialClient(path string, d handoff.Direction) (*client, error) {
	conn, err := handoff.Dial(context.Background(), path, handoff.Request{ItemSize: 8, Capacity: 16, Direction: d})
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

// leave closes first the rings, then the connection.
func (c *client) leave() error {
	var errs []error
	if c.tx != nil {
		errs = append(errs, c.tx.Close())
	}
	if c.rx != nil {
		errs = append(errs, c.rx.Close())
	}
	return errors.Join(append(errs, c.Close())...)
}

// clientRole is a client at the path of its first argument. It has 500 items sent back,
// and then leaves if the second is "leave", else it waits.
func clientRole(args []string) int {
	if err := clientMain(args[0], args[1] == "leave"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func clientMain(path string, leave bool) error {
	c, err := dialClient(path, handoff.Duplex)
	if err != nil {
		return err
	}
	ctx := context.Background()
	got := make([]uint64, 16)
	for next, sent := uint64(0), uint64(0); next < 500; {
		if n, err := c.tx.SendContext(ctx, []uint64{sent, sent + 1, sent + 2}); err != nil || n != 3 {
			return fmt.Errorf("after %d items: %w", sent, err)
		}
		for sent += 3; next < sent; {
			n, err := c.rx.ReceiveContext(ctx, got)
			if err != nil {
				return err
			}
			for _, v := range got[:n] {
				if v != next {
					return fmt.Errorf("item %d came where %d was due", v, next)
				}
				next++
			}
		}
	}
	fmt.Println("done")
	if leave {
		return c.leave()
	}
	select {}
}

func TestHandshakeAcrossProcesses(t *testing.T) {
	forDoorbells(t, func(t *testing.T, cfg handoff.Config) {
		for _, opts := range [][]gnet.Option{nil, {gnet.WithEdgeTriggeredIO(true), gnet.WithNumEventLoop(2)}} {
			s := serve(t, cfg, nil, opts...)
			for _, how := range []string{"leave", "stay"} {
				p := proctest.Start(t, "client", nil, s.address, how)
				line, err := p.Stdout.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, "done\n", line)
				k := <-s.clients
				require.EqualValues(t, p.Pid(), k.Peer().PID)
				require.EqualValues(t, os.Getuid(), k.Peer().UID)
				require.Equal(t, handoff.Request{ItemSize: 8, Capacity: 16, Direction: handoff.Duplex}, k.Request())
				require.Equal(t, cfg.SocketDoorbells, k.in.Route() == RouteSocket)
				if how == "leave" {
					require.NoError(t, p.Wait())
				} else {
					require.NoError(t, p.Kill())
				}
				for range 2 {
					err := <-k.ends
					if how == "leave" {
						require.True(t, errors.Is(err, io.EOF) || errors.Is(err, sharedring.ErrPeerGone), "%v", err) // receiver or sender
						require.NotContains(t, err.Error(), "farewell")
					} else {
						require.ErrorIs(t, err, sharedring.ErrPeerGone)
						require.NotErrorIs(t, err, io.EOF)
					}
				}
				s.awaitFree(t, k.Client)
			}
		}
	})
}

// awaitFree waits until a client's quota is given back.
func (s *service) awaitFree(t testing.TB, c *Client) {
	for freed := false; !freed; runtime.Gosched() {
		require.NoError(t, t.Context().Err())
		c.link.mu.Lock()
		freed = c.freed
		c.link.mu.Unlock()
	}
	_, err := c.In()
	require.ErrorIs(t, err, ErrConnClosed)
	_, err = c.Attach(quiet(0), reactor.Handler{Ready: func(reactor.Event) error { return nil }})
	require.ErrorIs(t, err, ErrConnClosed)
	require.Nil(t, s.lookUp(c.Conn()))
}

// What a client sent before it left is received, also by who was paused or came late.
func TestClientLeavesAtOnce(t *testing.T) {
	forDoorbells(t, func(t *testing.T, cfg handoff.Config) {
		for _, clean := range []bool{true, false} {
			for _, late := range []bool{false, true} {
				s := serve(t, cfg, func(k *served) error {
					k.paused = late
					return nil
				})
				c := s.client(t, handoff.Out)
				send(t, c.tx, 1, 2, 3)
				k := <-s.clients
				if clean {
					require.NoError(t, c.leave())
				} else {
					crash(t, c)
				}
				if late {
					<-s.closed
					require.Empty(t, k.ends)
					require.NoError(t, k.in.Resume())
				}
				err := <-k.ends
				if clean {
					require.Equal(t, io.EOF.Error(), err.Error())
				} else {
					require.ErrorIs(t, err, sharedring.ErrPeerGone)
				}
				s.awaitFree(t, k.Client)
				if !clean {
					require.NoError(t, c.leave())
				}
			}
		}
	})
}

// crash ends the lifeline without a farewell, as the kernel does when a process dies.
func crash(t testing.TB, c *client) { require.NoError(t, unix.Shutdown(c.FD(), unix.SHUT_RDWR)) }

// The program's own protocol and requests share an address, and come in pieces.
func TestFirstBytesTell(t *testing.T) {
	s := serve(t, handoff.Config{}, nil)
	request := encoded(t, handoff.Request{ItemSize: 8, Capacity: 16, Direction: handoff.Out})
	require.Equal(t, magic, request[:4])
	require.True(t, handoff.IsRequest(magic))
	for _, first := range []string{"h", "hello", string(magic[:2]) + "x", string(magic[:3]) + "\n", "\x00"} {
		conn, _ := s.dial()
		for _, b := range []byte(first) {
			_, err := conn.Write([]byte{b})
			require.NoError(t, err)
		}
		got := make([]byte, len(first))
		_, err := io.ReadFull(conn, got)
		require.NoError(t, err)
		require.Equal(t, first, string(got))
		_, err = conn.Write(request) // too late to be one
		require.NoError(t, err)
		got = make([]byte, len(request))
		_, err = io.ReadFull(conn, got)
		require.NoError(t, err)
		require.Equal(t, request, got)
		require.NoError(t, conn.Close())
	}
	require.Empty(t, s.clients)

	conn, c := s.dial()
	for _, b := range request {
		_, err := conn.Write([]byte{b})
		require.NoError(t, err)
		require.NoError(t, c.Wake(nil)) // is no byte
	}
	k := <-s.clients
	_, err := conn.Read(make([]byte, 1))
	require.NoError(t, err, "the reply")
	_, err = conn.Write([]byte{handoff.Farewell})
	require.NoError(t, err)
	require.Equal(t, io.EOF.Error(), (<-k.ends).Error())
}

// encoded is what a client sends.
func encoded(t testing.TB, req handoff.Request) []byte {
	l, err := net.Listen("unix", t.TempDir()+"/l")
	require.NoError(t, err)
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan bool)
	go func() {
		defer close(ended)
		_, _ = handoff.Dial(ctx, l.Addr().String(), req)
	}()
	conn, err := l.Accept()
	require.NoError(t, err)
	b := make([]byte, handoff.RequestSize)
	_, err = io.ReadFull(conn, b)
	require.NoError(t, err)
	cancel()
	<-ended
	require.NoError(t, conn.Close())
	return b
}

func TestHandshakeRefuses(t *testing.T) {
	s := serve(t, handoff.Config{
		MaxRingsPerUID: 2,
		Accept: func(_ handoff.Peer, r handoff.Request) error {
			if r.ItemSize != 8 {
				return errors.New("no")
			}
			return nil
		},
	}, nil)
	ctx := context.Background()
	_, err := handoff.Dial(ctx, s.address, handoff.Request{ItemSize: 9, Capacity: 1, Direction: handoff.Out})
	require.ErrorIs(t, err, handoff.ErrRefused)
	<-s.opened

	first := s.client(t, handoff.Duplex)
	_, err = handoff.Dial(ctx, s.address, handoff.Request{ItemSize: 8, Capacity: 1, Direction: handoff.Out})
	require.ErrorIs(t, err, handoff.ErrQuota)
	<-s.opened
	k := <-s.clients
	require.NoError(t, first.leave())
	s.awaitFree(t, k.Client)
	second := s.client(t, handoff.Duplex)
	require.NoError(t, second.leave())
	s.awaitFree(t, (<-s.clients).Client)

	conn, _ := s.dial()
	_, err = conn.Write(append(bytes.Clone(magic), make([]byte, handoff.RequestSize-4)...))
	require.NoError(t, err)
	reply, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.NotEmpty(t, reply)
	require.Empty(t, s.clients)
}

// A connection that the program made itself is no client's, whatever comes on it.
func TestOwnConnectionsAreNoClients(t *testing.T) {
	got := make(chan []byte, 1)
	p := run(t, &hooks{traffic: func(c gnet.Conn) gnet.Action {
		b, err := c.Next(-1)
		require.NoError(t, err)
		got <- bytes.Clone(b)
		return gnet.None
	}}, []Option{WithHandshake(handoff.Config{}, nil)})
	l, err := net.Listen("unix", t.TempDir()+"/other")
	require.NoError(t, err)
	defer l.Close()
	_, c := p.dial()
	results, err := c.EventLoop().Register(t.Context(), l.Addr())
	require.NoError(t, err)
	far, err := l.Accept()
	require.NoError(t, err)
	defer far.Close()
	require.NoError(t, (<-results).Err)
	_, err = far.Write(encoded(t, handoff.Request{ItemSize: 8, Capacity: 1, Direction: handoff.Out}))
	require.NoError(t, err)
	require.True(t, handoff.IsRequest(<-got))
	<-p.opened

	conn, err := handoff.Dial(t.Context(), p.address, handoff.Request{ItemSize: 8, Capacity: 1, Direction: handoff.Out})
	require.NoError(t, err)
	require.NoError(t, conn.Wait(t.Context()), "there is no callback")
	require.NoError(t, conn.Close())
}

func TestAllowIsAsked(t *testing.T) {
	s := serve(t, handoff.Config{Allow: func(handoff.Peer) error { return errors.New("no") }}, nil)
	_, err := handoff.Dial(context.Background(), s.address, handoff.Request{ItemSize: 8, Capacity: 1, Direction: handoff.Out})
	require.ErrorIs(t, err, handoff.ErrRefused)
	conn, _ := s.dial()
	_, err = conn.Write([]byte("the program's own protocol is not asked for\n"))
	require.NoError(t, err)
	_, err = bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
}

// Half a request has a deadline, which stops with the connection and with the request.
func TestHalfRequestIsTimed(t *testing.T) {
	s := serve(t, handoff.Config{Timeout: time.Millisecond}, nil)
	conn, _ := s.dial()
	_, err := conn.Write(magic)
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)

	conn, _ = s.dial()
	_, err = conn.Write([]byte("no request"))
	require.NoError(t, err)
	_, err = io.ReadFull(conn, make([]byte, 10))
	require.NoError(t, err)
}

func TestLifelineTakesNothingElse(t *testing.T) {
	s := serve(t, handoff.Config{}, nil)
	c := s.client(t, handoff.Out)
	k := <-s.clients
	send(t, c.tx, 1)
	require.NoError(t, unix.Sendto(c.FD(), []byte("x"), unix.MSG_NOSIGNAL, nil))
	err := <-k.ends
	require.ErrorIs(t, err, sharedring.ErrPeerGone)
	require.ErrorIs(t, err, handoff.ErrProtocol)
	require.NoError(t, c.Wait(context.Background()), "the server says farewell all the same")
	require.NoError(t, c.leave())
	s.awaitFree(t, k.Client)
}

// However this side ends a client, it is told that this is no crash, and both rings end.
func TestServerEndsClient(t *testing.T) {
	errRing := errors.New("ring failed")
	for what, end := range map[string]func(t *testing.T, s *service, c *client, k *served){
		"Close": func(t *testing.T, _ *service, _ *client, k *served) { require.NoError(t, k.Client.Close()) },
		"ring": func(t *testing.T, _ *service, _ *client, k *served) {
			require.NoError(t, k.in.Close())
			require.NoError(t, k.rx.Close()) // no Closed follows
		},
		"engine": func(_ *testing.T, s *service, _ *client, _ *served) { s.shutDown() },
		"error": func(t *testing.T, _ *service, c *client, k *served) {
			require.NoError(t, k.in.Loop().Post(func() { k.ringFail = errRing }))
			send(t, c.tx, 1)
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := serve(t, handoff.Config{}, nil)
			c := s.client(t, handoff.Duplex)
			k := <-s.clients
			end(t, s, c, k)
			var ends []error
			for range 2 {
				if what != "ring" || len(ends) == 0 {
					ends = append(ends, <-k.ends)
				}
			}
			switch what {
			case "Close", "ring":
				require.ErrorIs(t, ends[0], ErrConnClosed)
			case "engine":
				require.ErrorIs(t, ends[0], reactor.ErrClosed)
				require.ErrorIs(t, ends[1], reactor.ErrClosed)
			case "error":
				require.ErrorIs(t, ends[0], errRing)
				require.ErrorIs(t, ends[1], ErrConnClosed)
			}
			require.NoError(t, c.Wait(context.Background()))
			require.NoError(t, c.leave())
			s.awaitFreeAfter(t, k.Client, what)
			require.NoError(t, k.Client.Close())
		})
	}
}

// awaitFreeAfter is awaitFree, but for the attach of an engine that stopped.
func (s *service) awaitFreeAfter(t testing.TB, c *Client, what string) {
	if what != "engine" {
		s.awaitFree(t, c)
		return
	}
	require.True(t, c.freed)
}

// An error of the callback ends the client, with rings attached or not.
func TestCallbackRefusesClient(t *testing.T) {
	for _, attach := range []bool{false, true} {
		refused := make(chan *served, 1)
		s := serve(t, handoff.Config{}, func(k *served) error {
			if attach {
				require.NoError(t, k.attach())
			}
			refused <- k
			return errors.New("no")
		})
		c := s.client(t, handoff.Duplex)
		require.NoError(t, c.Wait(context.Background()))
		k := <-refused
		if attach {
			require.ErrorIs(t, <-k.ends, ErrConnClosed)
			require.ErrorIs(t, <-k.ends, ErrConnClosed)
		}
		s.awaitFree(t, k.Client)
		require.NoError(t, c.leave())
	}
}

// A client whose rings nobody attaches keeps its connection and its quota.
func TestClientWithoutRings(t *testing.T) {
	var got *Client
	clients := make(chan *Client, 1)
	p := run(t, &hooks{}, []Option{WithHandshake(handoff.Config{}, func(c *Client) error {
		clients <- c
		return nil
	})})
	s := &service{program: p}
	c := s.client(t, handoff.Out)
	got = <-clients
	_, err := got.Out()
	require.ErrorIs(t, err, handoff.ErrNoRing)
	h, err := got.In()
	require.NoError(t, err)
	require.NoError(t, h.Close())
	_, err = got.In()
	require.ErrorIs(t, err, handoff.ErrNoRing)
	require.NotNil(t, got.Conn().EventLoop())
	require.NoError(t, c.leave())
	s.awaitFree(t, got)
}

// gnet's read would close descriptors, and that can be made to take long.
func TestNoDescriptorsComeIn(t *testing.T) {
	s := serve(t, handoff.Config{}, nil)
	rights := unix.UnixRights(0)
	_, c := s.dial()
	if passes, err := unix.GetsockoptInt(c.Fd(), unix.SOL_SOCKET, unix.SO_PASSRIGHTS); err != nil {
		t.Logf("a kernel before Linux 6.16: %v", err)
		return
	} else {
		require.Zero(t, passes)
	}
	hold := make(chan bool)
	require.NoError(t, c.EventLoop().Execute(t.Context(), gnet.RunnableFunc(func(context.Context) error {
		<-hold
		return nil
	})))
	conn, err := net.Dial("unix", s.address) // is not opened
	require.NoError(t, err)
	_, _, err = conn.(*net.UnixConn).WriteMsgUnix([]byte("x"), rights, nil)
	require.ErrorIs(t, err, unix.EPERM)
	close(hold)
	<-s.opened
	_, _, err = conn.(*net.UnixConn).WriteMsgUnix([]byte("x"), rights, nil)
	require.ErrorIs(t, err, unix.EPERM)
	_, err = conn.Write([]byte("y"))
	require.NoError(t, err)
	got := make([]byte, 1)
	_, err = conn.Read(got)
	require.NoError(t, err)
	require.Equal(t, "y", string(got))
	require.NoError(t, conn.Close())
}
