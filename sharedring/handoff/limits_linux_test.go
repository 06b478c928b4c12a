package handoff

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring"
)

func init() {
	roles["limited server"] = func(args []string) int { return report(limitedServerRole(args[0], args[1])) }
	roles["limited client"] = func(args []string) int { return report(limitedClientRole(args[0])) }
	roles["faulty server"] = func(args []string) int { return report(faultyServerRole(args[0], args[1:])) }
	roles["faulty client"] = func(args []string) int { return report(faultyClientRole(args[0], args[1:])) }
	roles["old kernel"] = func(args []string) int { return report(oldKernelRole(args[0])) }
}

// limitDescriptors leaves room for free more descriptors until restore.
func limitDescriptors(free int) (restore func() error, err error) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		return nil, err
	}
	limit := uint64(0)
	for ; free > 0 || inUse(limit); limit++ {
		if !inUse(limit) {
			free--
		}
	}
	restore = func() error { return unix.Setrlimit(unix.RLIMIT_NOFILE, &old) }
	return restore, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: old.Max})
}

func inUse(fd uint64) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// roleCensus counts when the runtime has its poller, which keeps two descriptors.
func roleCensus() proctest.Census {
	if r, w, err := os.Pipe(); err == nil {
		_ = r.SetReadDeadline(longAgo)
		r.Close()
		w.Close()
	}
	return proctest.Take()
}

// limitedServerRole serves with room for free descriptors. It tells on standard
// output when it has closed a connection, and ends with standard input.
func limitedServerRole(path, free string) error {
	before := roleCensus()
	l, err := Listen(path, Config{})
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(free)
	if err != nil {
		return err
	}
	if _, err := limitDescriptors(n); err != nil {
		return err
	}
	fmt.Println("ready")
	go func() {
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			go func() {
				err := errors.Join(conn.Wait(context.Background()), conn.Close())
				fmt.Println("closed", err)
			}()
		}
	}()
	if err := readUntilEOF(os.Stdin); err != nil {
		return err
	}
	return closeAndCompare(l, before)
}

// closeAndCompare waits for all handshakes by closing the listener.
func closeAndCompare(l *Listener, before proctest.Census) error {
	if err := l.Close(); err != nil {
		return err
	}
	if now := proctest.Take(); now.FDs != before.FDs {
		return fmt.Errorf("%d descriptors, %d before: %v", now.FDs, before.FDs, openFiles())
	}
	return nil
}

func TestFault39ServerOutOfDescriptors(t *testing.T) {
	// The limit is met at each step of the handshake in turn: the socket of the
	// client, the pidfd, the memory, a doorbell.
	for free := range 12 {
		t.Run(strconv.Itoa(free), func(t *testing.T) {
			path := socketPath(t)
			p := proctest.Start(t, "limited server", nil, path, strconv.Itoa(free))
			requireReady(t, p)
			var conns []*Conn
			for len(conns) <= free { // more than there can be
				c, err := Dial(testContext(t), path, oneRing)
				if err != nil {
					var refused *RefusedError
					require.ErrorAs(t, err, &refused)
					require.Equal(t, RefusedError{StatusUnavailable, ReasonResources}, *refused)
					break
				}
				conns = append(conns, c)
			}
			require.LessOrEqual(t, len(conns), free/5)
			for i, c := range conns {
				require.NoError(t, c.Close())
				line, err := p.Stdout.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, "closed <nil>\n", line)
				// The listener recovers: it serves another in its place.
				conns[i] = dialWhenFree(t, path)
			}
			for _, c := range conns {
				require.NoError(t, c.Close())
				_, err := p.Stdout.ReadString('\n')
				require.NoError(t, err)
			}
			require.NoError(t, p.Stdin.Close())
			require.NoError(t, p.Wait())
		})
	}
}

// Silent clients hold all descriptors, and still others are told.
func TestFault39OutOfDescriptorsInAccept(t *testing.T) {
	path := socketPath(t)
	p := proctest.Start(t, "limited server", nil, path, "2")
	requireReady(t, p)
	rawClient(t, path)
	rawClient(t, path)
	for range 3 {
		status, reason := readRefusal(t, rawClient(t, path))
		require.Equal(t, StatusUnavailable, status)
		require.Equal(t, ReasonResources, reason)
	}
	require.NoError(t, p.Stdin.Close())
	require.NoError(t, p.Wait())
}

// dialWhenFree dials until the server has closed the sockets of those it refused,
// which it does after it told them.
func dialWhenFree(t *testing.T, path string) *Conn {
	for {
		c, err := Dial(testContext(t), path, oneRing)
		if !errors.Is(err, ErrRefused) {
			require.NoError(t, err)
			return c
		}
	}
}

// limitedClientRole dials with room for ever more descriptors, until it works.
func limitedClientRole(path string) error {
	before := roleCensus()
	for free := range 6 {
		restore, err := limitDescriptors(free)
		if err != nil {
			return err
		}
		c, dialErr := Dial(context.Background(), path, oneRing)
		if err := restore(); err != nil {
			return err
		}
		if c != nil {
			err := c.Close()
			if free < 5 {
				return fmt.Errorf("dialed with %d descriptors: %w", free, err)
			}
		} else if free == 5 || !errors.Is(dialErr, unix.EMFILE) && !errors.Is(dialErr, ErrProtocol) {
			return fmt.Errorf("dial with %d descriptors: %w", free, dialErr)
		}
		if now := proctest.Take(); now.FDs != before.FDs {
			return fmt.Errorf("with %d free: %d descriptors, %d before", free, now.FDs, before.FDs)
		}
	}
	return nil
}

func TestFault39ClientOutOfDescriptors(t *testing.T) {
	path := socketPath(t)
	l := listen(t, path, Config{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	p := proctest.Start(t, "limited client", nil, path)
	require.NoError(t, p.Wait())
	require.NoError(t, l.Close())
	<-ended
}

// faultArgs and parseFault carry a fault to a role.
func faultArgs(f proctest.Fault) []string {
	return strings.Fields(fmt.Sprint(f.Syscall, int(f.Errno), f.Arg, f.Mask, f.Value))
}

func parseFault(args []string) (f proctest.Fault, err error) {
	_, err = fmt.Sscan(strings.Join(args, " "), &f.Syscall, &f.Errno, &f.Arg, &f.Mask, &f.Value)
	return f, err
}

// faultyServerRole serves under a fault until standard input ends.
func faultyServerRole(path string, args []string) error {
	fault, err := parseFault(args)
	if err != nil {
		return err
	}
	var cfg Config
	if fault.Errno == unix.EINTR || fault.Errno == unix.EAGAIN {
		cfg.Timeout = 20 * time.Millisecond // only the deadline ends these
	}
	before := roleCensus()
	l, err := Listen(path, cfg)
	if err != nil {
		return err
	}
	if err := proctest.InjectErrno(fault); err != nil {
		return err
	}
	fmt.Println("ready")
	if err := readUntilEOF(os.Stdin); err != nil {
		return err
	}
	return closeAndCompare(l, before)
}

func call(nr uintptr, errno syscall.Errno) proctest.Fault {
	return proctest.Fault{Syscall: nr, Errno: errno, Arg: -1}
}

var peerPidFDOption = proctest.Fault{Syscall: unix.SYS_GETSOCKOPT, Arg: 2, Mask: 0xffffffff, Value: unix.SO_PEERPIDFD}

func withErrno(f proctest.Fault, errno syscall.Errno) proctest.Fault {
	f.Errno = errno
	return f
}

func TestFault54Server(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault proctest.Fault
		want  *RefusedError // nil: the client gets no answer
	}{
		{"recvmsg ENOMEM", call(unix.SYS_RECVMSG, unix.ENOMEM), &RefusedError{StatusUnavailable, ReasonResources}},
		{"recvmsg EINTR", call(unix.SYS_RECVMSG, unix.EINTR), &RefusedError{StatusUnavailable, ReasonDeadline}},
		{"recvmsg EAGAIN", call(unix.SYS_RECVMSG, unix.EAGAIN), &RefusedError{StatusUnavailable, ReasonDeadline}},
		{"memfd_create EMFILE", call(unix.SYS_MEMFD_CREATE, unix.EMFILE), &RefusedError{StatusUnavailable, ReasonResources}},
		{"memfd_create ENFILE", call(unix.SYS_MEMFD_CREATE, unix.ENFILE), &RefusedError{StatusUnavailable, ReasonResources}},
		{"ftruncate ENOMEM", call(unix.SYS_FTRUNCATE, unix.ENOMEM), &RefusedError{StatusUnavailable, ReasonResources}},
		{"eventfd EMFILE", call(unix.SYS_EVENTFD2, unix.EMFILE), &RefusedError{StatusUnavailable, ReasonResources}},
		{"pidfd EMFILE", withErrno(peerPidFDOption, unix.EMFILE), &RefusedError{StatusUnavailable, ReasonResources}},
		{"getsockopt ENOMEM", call(unix.SYS_GETSOCKOPT, unix.ENOMEM), &RefusedError{StatusUnavailable, ReasonResources}},
		{"sendmsg ETOOMANYREFS", call(unix.SYS_SENDMSG, unix.ETOOMANYREFS), nil},
		{"accept EMFILE", call(unix.SYS_ACCEPT4, unix.EMFILE), nil},
		{"accept ENOMEM", call(unix.SYS_ACCEPT4, unix.ENOMEM), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := socketPath(t)
			p := proctest.Start(t, "faulty server", nil, append([]string{path}, faultArgs(c.fault)...)...)
			requireReady(t, p)
			for range 2 { // the second finds the server as the first did
				ctx, cancel := context.WithTimeout(testContext(t), 200*time.Millisecond)
				if c.want != nil {
					ctx = testContext(t)
				}
				_, err := Dial(ctx, path, oneRing)
				cancel()
				if c.want == nil {
					require.Error(t, err)
					continue
				}
				var refused *RefusedError
				require.ErrorAs(t, err, &refused)
				require.Equal(t, *c.want, *refused)
			}
			require.NoError(t, p.Stdin.Close())
			require.NoError(t, p.Wait())
		})
	}
}

// faultyClientRole dials under a fault and expects an error, and nothing left.
func faultyClientRole(path string, args []string) error {
	fault, err := parseFault(args)
	if err != nil {
		return err
	}
	before := roleCensus()
	if err := proctest.InjectErrno(fault); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, path, oneRing); !errors.Is(err, fault.Errno) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("dial: %w", err)
	}
	if now := proctest.Take(); now.FDs != before.FDs {
		return fmt.Errorf("%d descriptors, %d before: %v", now.FDs, before.FDs, openFiles())
	}
	return nil
}

func TestFault54Client(t *testing.T) {
	for name, fault := range map[string]proctest.Fault{
		"recvmsg ENOMEM":    call(unix.SYS_RECVMSG, unix.ENOMEM),
		"recvmsg EINTR":     call(unix.SYS_RECVMSG, unix.EINTR),
		"recvmsg EAGAIN":    call(unix.SYS_RECVMSG, unix.EAGAIN),
		"connect EAGAIN":    call(unix.SYS_CONNECT, unix.EAGAIN),
		"socket EMFILE":     call(unix.SYS_SOCKET, unix.EMFILE),
		"getsockopt ENOMEM": call(unix.SYS_GETSOCKOPT, unix.ENOMEM),
		"pidfd ENFILE":      withErrno(peerPidFDOption, unix.ENFILE),
	} {
		t.Run(name, func(t *testing.T) {
			path := socketPath(t)
			l := listen(t, path, Config{})
			p := proctest.Start(t, "faulty client", nil, append([]string{path}, faultArgs(fault)...)...)
			require.NoError(t, p.Wait())
			require.NoError(t, l.Close())
			require.Empty(t, l.quota.used)
		})
	}
}

// oldKernelRole serves without SO_PEERPIDFD, then without pidfds, then without a
// descriptor for the epoll of Wait.
func oldKernelRole(path string) error {
	l, err := Listen(path, Config{})
	if err != nil {
		return err
	}
	defer l.Close()
	for _, step := range []struct {
		faults   []proctest.Fault
		hasPidFD bool
	}{
		{[]proctest.Fault{withErrno(peerPidFDOption, unix.ENOPROTOOPT)}, true},
		{[]proctest.Fault{call(unix.SYS_EPOLL_CREATE1, unix.EMFILE)}, true},
		{[]proctest.Fault{call(unix.SYS_PIDFD_OPEN, unix.ENOSYS)}, false},
	} {
		if err := proctest.InjectErrno(step.faults...); err != nil {
			return err
		}
		fmt.Println("ready")
		conn, err := l.Accept(context.Background())
		if err != nil {
			return err
		}
		if got := conn.PidFD() >= 0; got != step.hasPidFD {
			return fmt.Errorf("has a pidfd: %v", got)
		}
		err = conn.Wait(context.Background())
		if !errors.Is(err, sharedring.ErrPeerGone) {
			return fmt.Errorf("wait: %w", err)
		}
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return nil
}

func TestOldKernels(t *testing.T) {
	path := socketPath(t)
	server := proctest.Start(t, "old kernel", nil, path)
	for range 3 {
		requireReady(t, server)
		client := proctest.Start(t, "hang", nil, path, "out")
		requireReady(t, client)
		require.NoError(t, client.Kill())
	}
	require.NoError(t, server.Wait())
	rest, err := io.ReadAll(bufio.NewReader(server.Stdout))
	require.NoError(t, err)
	require.Empty(t, rest)
}
