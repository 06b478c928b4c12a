package gnetring

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/reactor"
	"github.com/shmloop/shmloop/sharedring"
)

// forRoutes runs f for each route.
func forRoutes(t *testing.T, f func(t *testing.T, r routeOf)) {
	for _, r := range routes {
		t.Run(r.Route.String(), func(t *testing.T) { f(t, r) })
	}
}

// In all of these places only the event loop could bring about the end of an enrolment.
func TestAttachInCallbacks(t *testing.T) {
	forRoutes(t, func(t *testing.T, r routeOf) {
		attached := make(chan *collector, 10)
		h := new(hooks)
		attach := func(c gnet.Conn) {
			rx, tx := r.rings(t, 16)
			send(t, tx, 1, 2) // older than the enrolment
			k := collect(rx)
			_, err := h.rings.AttachConn(c, rx, k.handler(), WithRoute(r.Route))
			require.NoError(t, err)
			send(t, tx, 3)
			attached <- k
		}
		h.open = func(c gnet.Conn) ([]byte, gnet.Action) {
			attach(c)
			return nil, gnet.None
		}
		h.traffic = func(c gnet.Conn) gnet.Action {
			_, _ = c.Discard(-1)
			attach(c)
			return gnet.None
		}
		h.close = func(c gnet.Conn, err error) gnet.Action {
			attach(c)
			return gnet.None
		}
		p := run(t, h, nil)
		c, _ := p.dial()
		(<-attached).want(t, 1, 2, 3)
		_, err := c.Write([]byte("x"))
		require.NoError(t, err)
		k := <-attached
		k.want(t, 1, 2, 3)
		require.NoError(t, c.Close())
		require.ErrorIs(t, <-k.closed, ErrConnClosed)
		require.ErrorIs(t, <-(<-attached).closed, ErrConnClosed, "attached in OnClose")
	})
}

func TestCallbacksAreOnTheEventLoop(t *testing.T) {
	forRoutes(t, func(t *testing.T, r routeOf) {
		p := run(t, &hooks{}, nil)
		client, c := p.dial()
		var id uint64
		on(t, c.EventLoop(), func() { id = goroutineID() })
		rx, tx := r.rings(t, 16)
		reg, err := p.AttachConn(c, rx, reactor.Handler{Ready: func(reactor.Event) error {
			if goroutineID() != id {
				return errors.New("another goroutine")
			}
			n, err := rx.Receive(make([]uint64, 4))
			if n > 0 {
				_, _ = c.Write([]byte{byte(n)}) // no lock
			}
			return err
		}}, WithRoute(r.Route))
		require.NoError(t, err)
		require.Equal(t, r.Route, reg.Route())
		require.Equal(t, c.EventLoop(), reg.Loop().el)
		for n := range 3 {
			send(t, tx, make([]uint64, n+1)...)
			b := make([]byte, 1)
			_, err = client.Read(b)
			require.NoError(t, err)
			require.Equal(t, byte(n+1), b[0])
		}
		require.NotZero(t, reg.Stats().Services)
		require.NotZero(t, reg.Loop().Stats().Services)
	})
}

func TestRouteIsChosen(t *testing.T) {
	p := run(t, &hooks{}, nil)
	l := p.loop()
	attach := func(s reactor.Source, opts ...AttachOption) (Route, error) {
		reg, err := l.Attach(s, reactor.Handler{Ready: func(reactor.Event) error { return nil }}, opts...)
		if err != nil {
			return 0, err
		}
		require.NoError(t, reg.Close())
		return reg.Route(), nil
	}
	eventfd, _ := routes[0].rings(t, 16)
	socket, _ := routes[2].rings(t, 16)
	foreign := foreignSocket(t)
	for _, test := range []struct {
		source reactor.Source
		opts   []AttachOption
		want   Route
	}{
		{eventfd, nil, RouteRelay},
		{eventfd, []AttachOption{TrustPeer()}, RouteEventfd},
		{eventfd, []AttachOption{TrustPeer(), WithRoute(RouteRelay)}, RouteRelay},
		{eventfd, []AttachOption{WithRoute(RouteEventfd)}, RouteEventfd},
		{socket, nil, RouteSocket},
		{socket, []AttachOption{WithRoute(RouteRelay)}, RouteRelay},
		{foreign, nil, RouteRelay}, // descriptors can be sent to it
		{foreign, []AttachOption{TrustPeer()}, RouteSocket},
		{foreign, []AttachOption{WithRoute(RouteSocket)}, RouteSocket},
	} {
		got, err := attach(test.source, test.opts...)
		require.NoError(t, err)
		require.Equal(t, test.want, got)
	}
	_, err := attach(eventfd, WithRoute(RouteSocket))
	require.ErrorIs(t, err, ErrRoute)
	_, err = attach(socket, WithRoute(RouteEventfd))
	require.ErrorIs(t, err, ErrRoute)
	_, err = attach(eventfd, WithRoute(9))
	require.ErrorIs(t, err, ErrRoute)
	require.Equal(t, "eventfd relay socket Route(9)", RouteEventfd.String()+" "+RouteRelay.String()+" "+RouteSocket.String()+" "+Route(9).String())
}

// quiet is a source with nothing but a descriptor.
type quiet int

func (q quiet) FD() int              { return int(q) }
func (quiet) Pending() (bool, error) { return false, nil }
func (quiet) Arm() (bool, error)     { return false, nil }

// foreignSocket is a socket that was not made for a doorbell.
func foreignSocket(t *testing.T) quiet {
	a, _ := socketPair(t)
	return quiet(a)
}

func socketPair(t *testing.T) (a, b int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = unix.Close(fds[0])
		require.NoError(t, unix.Close(fds[1]))
	})
	return fds[0], fds[1]
}

func TestAttachRefuses(t *testing.T) {
	p := run(t, &hooks{}, nil)
	_, c := p.dial()
	rx, _ := routes[0].rings(t, 16)
	ready := reactor.Handler{Ready: func(reactor.Event) error { return nil }}
	_, err := p.AttachConn(nil, rx, ready)
	require.ErrorIs(t, err, reactor.ErrInvalid)
	_, err = p.AttachConn(c, nil, ready)
	require.ErrorIs(t, err, reactor.ErrInvalid)
	_, err = p.AttachConn(c, rx, reactor.Handler{})
	require.ErrorIs(t, err, reactor.ErrInvalid)
	_, err = p.Loop(nil)
	require.ErrorIs(t, err, reactor.ErrInvalid)
	_, err = p.AttachConn(c, quiet(-1), ready)
	require.ErrorIs(t, err, unix.EBADF)

	for _, r := range []Route{RouteEventfd, RouteRelay} {
		reg, err := p.AttachConn(c, rx, ready, WithRoute(r))
		require.NoError(t, err)
		_, err = p.AttachConn(c, rx, ready)
		require.ErrorIs(t, err, reactor.ErrRegistered)
		_, c = p.dial()
		require.NoError(t, reg.Close())
		require.NoError(t, reg.Close())
	}
}

func TestRingEndsWithConnection(t *testing.T) {
	forRoutes(t, func(t *testing.T, r routeOf) {
		var order []string // of the event loop
		p := run(t, &hooks{close: func(gnet.Conn, error) gnet.Action {
			order = append(order, "OnClose")
			return gnet.None
		}}, nil)
		client, c := p.dial()
		var left []uint64
		for _, paused := range []bool{false, true} {
			rx, tx := r.rings(t, 16)
			gate := false // of the event loop
			reg, err := p.AttachConn(c, rx, reactor.Handler{
				Ready: func(reactor.Event) error {
					if gate {
						t.Error("a turn of a ring whose connection is closed")
					}
					return nil
				},
				Closed: func(err error) {
					gate = true
					require.ErrorIs(t, err, ErrConnClosed)
					require.NotErrorIs(t, err, io.EOF, "that would be a clean end of the ring")
					order = append(order, "Closed")
					buf := make([]uint64, 16)
					n, err := rx.Receive(buf)
					require.NoError(t, err)
					left = append(left, buf[:n]...)
				},
			}, WithRoute(r.Route))
			require.NoError(t, err)
			if paused {
				reg.Pause()
			}
			send(t, tx, 1, 2)
		}
		require.NoError(t, client.Close())
		<-p.closed
		require.Equal(t, []string{"Closed", "Closed", "OnClose"}, order)
		require.Equal(t, []uint64{1, 2, 1, 2}, left)
	})
}

func TestConnectionEndsWithRing(t *testing.T) {
	p := run(t, &hooks{}, nil)
	for what, end := range map[string]func(*sharedring.Receiver[uint64], *Registration){
		"error": func(rx *sharedring.Receiver[uint64], _ *Registration) { rx.HangUp(nil) },
		"Close": func(_ *sharedring.Receiver[uint64], r *Registration) { require.NoError(t, r.Close()) },
		"inside": func(_ *sharedring.Receiver[uint64], r *Registration) {
			require.NoError(t, r.Loop().Post(func() { require.NoError(t, r.Close()) }))
		},
	} {
		client, c := p.dial()
		rx, tx := routes[0].rings(t, 16)
		k := collect(rx)
		reg, err := p.AttachConn(c, rx, k.handler())
		require.NoError(t, err)
		send(t, tx, 7)
		k.want(t, 7)
		end(rx, reg)
		_, err = client.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err, what)
		if what == "error" {
			require.Equal(t, io.EOF, <-k.closed)
		}
	}
}

// A connection that closed before AttachConn, which runs on another goroutine.
func TestAttachToClosedConnection(t *testing.T) {
	p := run(t, &hooks{}, nil)
	for range 20 {
		client, c := p.dial()
		require.NoError(t, client.Close())
		<-p.closed
		rx, _ := routes[0].rings(t, 16)
		k := collect(rx)
		_, err := p.AttachConn(c, rx, k.handler())
		require.NoError(t, err)
		require.ErrorIs(t, <-k.closed, ErrConnClosed)
		require.Nil(t, p.lookUp(c))
	}
}

// The other end of a socket doorbell tells of its peer's end, with no lifeline.
func TestSocketDoorbellTellsOfTheEnd(t *testing.T) {
	for _, spin := range []time.Duration{0, time.Hour} {
		l := run(t, &hooks{}, []Option{WithReactor(reactor.WithSpin(spin))}).loop()
		for _, clean := range []bool{true, false} {
			near, far, err := socketRing(16, 8)
			require.NoError(t, err)
			rx, err := sharedring.OpenReceiver[uint64](near)
			require.NoError(t, err)
			peer := startPeer(t, far, "1", "2", "3")
			k := collect(rx)
			reg, err := l.Attach(rx, k.handler())
			require.NoError(t, err)
			require.Equal(t, RouteSocket, reg.Route())
			k.want(t, 1, 2, 3)
			if clean {
				require.NoError(t, peer.Stdin.Close())
				require.NoError(t, peer.Wait())
				k.want(t, 99)
				require.Equal(t, io.EOF, <-k.closed)
			} else {
				require.NoError(t, peer.Kill())
				err = <-k.closed
				require.ErrorIs(t, err, sharedring.ErrPeerGone)
				require.NotErrorIs(t, err, io.EOF)
			}
			require.NoError(t, rx.Close())
		}
	}
}

// A source that knows nothing of its peer's end is ended.
func TestForeignDoorbellTellsOfTheEnd(t *testing.T) {
	l := run(t, &hooks{}, nil).loop()
	a, b := socketPair(t)
	closed := make(chan error, 1)
	turns := make(chan bool, 100)
	reg, err := l.Attach(quiet(a), reactor.Handler{
		Ready: func(reactor.Event) error {
			turns <- true
			return nil
		},
		Closed: func(err error) { closed <- err },
	}, TrustPeer())
	require.NoError(t, err)
	require.Equal(t, RouteSocket, reg.Route())
	for range 3 {
		<-turns
		require.NoError(t, sendByte(b))
	}
	require.NoError(t, unix.Shutdown(b, unix.SHUT_WR))
	require.ErrorIs(t, <-closed, errPeerLeft)
}
