package handoff

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"github.com/shmloop/shmloop/sharedring"
)

// The defaults of Config.
const (
	defaultMaxRingsPerUID = 1 << 15
	defaultMaxBytesPerUID = 2 << 30
	defaultMaxPending     = 256
	defaultTimeout        = 5 * time.Second
)

// Config is a server's policy. The zero value serves processes of the server's own
// uid and of root. A number that is 0 or less stands for its default.
type Config struct {
	// Allow says with nil that a peer may have rings. It is asked before anything
	// of the peer's request is read, by several goroutines at once, and while it
	// runs it holds one of MaxPending places. Without Allow only the server's own
	// effective uid and root are served, and the socket file has mode 0600; with
	// it the file has mode 0666, since connecting takes write permission.
	Allow func(Peer) error

	// Accept says with nil that a request of a peer that Allow let in is served; so a
	// server can refuse items of a size that it does not know. It is called like
	// Allow. Without it all sizes are served.
	Accept func(Peer, Request) error

	// SocketDoorbells makes rings whose doorbells are socket pairs; see
	// sharedring.WithSocketDoorbells. A peer's death is then seen on the ring itself.
	SocketDoorbells bool

	MaxRingsPerUID int   // rings that one uid can have at a time; default 32,768
	MaxBytesPerUID int64 // bytes of ring memory of one uid; default 2 GiB

	// MaxPending bounds the handshakes: clients that connected and are not yet
	// returned by Accept. Default 256. At the bound, clients that do not send
	// their request lose their place to those that wait.
	MaxPending int

	// Timeout is how long a client may take to send its request. Default 5 s.
	Timeout time.Duration
}

func (c Config) withDefaults() Config {
	if c.Allow == nil {
		c.Allow = ownUser
	}
	if c.MaxRingsPerUID <= 0 {
		c.MaxRingsPerUID = defaultMaxRingsPerUID
	}
	if c.MaxBytesPerUID <= 0 {
		c.MaxBytesPerUID = defaultMaxBytesPerUID
	}
	if c.MaxPending <= 0 {
		c.MaxPending = defaultMaxPending
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	return c
}

func ownUser(p Peer) error {
	if own := os.Geteuid(); p.UID != 0 && p.UID != uint32(own) {
		return fmt.Errorf("handoff: uid %d is neither root nor %d: %w", p.UID, own, fs.ErrPermission)
	}
	return nil
}

// Listener gives rings to the clients that connect to a path. Its methods may be
// called from any goroutine.
type Listener struct {
	admission
	path    string
	file    socketFile
	sockets *net.UnixListener
	pending pending

	ready     chan *Conn    // from handshakes to Accept
	closing   chan struct{} // closed by Close
	running   sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// Listen makes a socket at path and serves handshakes on it, each on a goroutine
// of its own, so that a client that dawdles holds up nobody. A path that begins
// with @ is a name in the abstract namespace (unix(7)), to which every process of
// the network namespace can connect. A socket file that nobody listens on is
// replaced; another server at path, or another kind of file, is an error that
// matches syscall.EADDRINUSE. The caller closes the Listener.
//
// The process should be the one that goes on to serve: clients take the death of
// the process that called Listen for the death of the server.
func Listen(path string, cfg Config) (*Listener, error) {
	if err := supported(); err != nil {
		return nil, fmt.Errorf("handoff: listen on %q: %w", path, err)
	}
	mode := fs.FileMode(0o600)
	if cfg.Allow != nil {
		mode = 0o666
	}
	reserve, err := newReserve()
	if err != nil {
		return nil, fmt.Errorf("handoff: listen on %q: reserve a descriptor: %w", path, err)
	}
	sockets, file, err := bind(path, mode)
	if err != nil {
		_ = closeDescriptor(reserve)
		return nil, fmt.Errorf("handoff: listen on %q: %w", path, err)
	}
	cfg = cfg.withDefaults()
	l := &Listener{
		admission: newAdmission(cfg), path: path, file: file, sockets: sockets,
		pending: pending{slots: make(chan struct{}, cfg.MaxPending)},
		ready:   make(chan *Conn),
		closing: make(chan struct{}),
	}
	l.running.Add(1)
	go l.serve(reserve)
	return l, nil
}

// Accept returns the next connection whose handshake is complete; the client may
// have sent on its ring already. The caller closes the Conn, which also gives the
// peer's quota back. Accept returns an error that matches ctx.Err() when ctx is
// done, and sharedring.ErrClosed after Close. Failed handshakes are told to the
// client only.
func (l *Listener) Accept(ctx context.Context) (*Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.closing:
		return nil, fmt.Errorf("handoff: accept on %q: %w", l.path, sharedring.ErrClosed)
	case <-ctx.Done():
		return nil, fmt.Errorf("handoff: accept on %q: %w", l.path, ctx.Err())
	}
}

// Close stops listening, ends handshakes and connections that were not accepted,
// and removes the socket file that Listen made. Connections that were accepted go
// on. It waits for calls of Config.Allow to return. Further calls do nothing.
func (l *Listener) Close() error {
	l.closeOnce.Do(func() {
		close(l.closing)
		err := errors.Join(l.file.remove(), l.sockets.Close())
		l.pending.closeAll()
		l.running.Wait()
		if err != nil {
			l.closeErr = fmt.Errorf("handoff: close the listener on %q: %w", l.path, err)
		}
	})
	return l.closeErr
}

// serve accepts connections until Close. It keeps a descriptor in reserve: at the
// limit of the process, accept(2) fails before it looks for a client, so only with
// one free again can a client be told that there are none, and only so does the
// loop sleep until there is one to tell.
func (l *Listener) serve(reserve int) {
	defer l.running.Done()
	defer func() { dropReserve(&reserve) }()
	var pause time.Duration
	for {
		sock, err := l.sockets.AcceptUnix()
		switch {
		case err == nil:
			pause = 0
			l.admit(sock, &reserve)
		case errors.Is(err, net.ErrClosed):
			return
		case noDescriptors(err) && reserve >= 0:
			dropReserve(&reserve)
		default:
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-l.closing:
				return
			}
		}
	}
}

// admit starts the handshake of sock, once there is a descriptor in reserve and a
// place for it.
func (l *Listener) admit(sock *net.UnixConn, reserve *int) {
	if !holdReserve(reserve) {
		refuse(sock, &RefusedError{StatusUnavailable, ReasonResources})
		holdReserve(reserve) // the socket's place
		return
	}
	if !l.pending.acquire(l.closing) {
		refuse(sock, &RefusedError{StatusUnavailable, ReasonClosing})
		return
	}
	l.running.Add(1)
	go l.handshake(sock)
}

func holdReserve(fd *int) bool {
	if *fd < 0 {
		*fd, _ = newReserve()
	}
	return *fd >= 0
}

func dropReserve(fd *int) {
	if *fd >= 0 {
		_ = closeDescriptor(*fd)
		*fd = -1
	}
}
