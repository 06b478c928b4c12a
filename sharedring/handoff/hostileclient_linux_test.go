package handoff

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
)

func init() {
	roles["silent"] = func(args []string) int { return report(silentRole(args[0], args[1])) }
	roles["stranger"] = func(args []string) int { return report(strangerRole(args[0])) }
}

func TestFault37ClientSendsDescriptors(t *testing.T) {
	request := encodeRequest(oneRing)
	for _, count := range []int{1, 3, 253} {
		for _, first := range []int{0, 10} { // bytes that come before
			t.Run(fmt.Sprintf("%d after %d", count, first), func(t *testing.T) {
				path := socketPath(t)
				fds := someFDs(t, count)
				before := proctest.Take()
				l := listen(t, path, Config{})
				c := rawClient(t, path)
				_, err := c.Write(request[:first])
				require.NoError(t, err)
				_, _, err = c.WriteMsgUnix(request[first:], unix.UnixRights(fds...), nil)
				require.NoError(t, err)
				status, reason := readRefusal(t, c)
				require.Equal(t, StatusInvalid, status)
				require.Equal(t, ReasonDescriptors, reason)
				require.NoError(t, c.Close())
				closeAndCount(t, l, before)
			})
		}
	}
}

func TestServerRefusesBadRequests(t *testing.T) {
	path := socketPath(t)
	before := proctest.Take()
	l := listen(t, path, Config{})
	good := encodeRequest(oneRing)
	for _, c := range []struct {
		name   string
		offset int
		value  []byte
		want   Reason
	}{
		{"magic", 0, fields(4, 1), ReasonMagic},
		{"version", 4, fields(2, 2), ReasonVersion},
		{"no direction", 8, fields(4, 0), ReasonDirection},
		{"unknown direction", 8, fields(4, 4), ReasonDirection},
		{"reserved", 12, fields(4, 7), ReasonReserved},
		{"item size 0", 16, fields(8, 0), ReasonItemSize},
		{"item size 2^63", 16, fields(8, 1<<63), ReasonItemSize},
		{"capacity 0", 24, fields(8, 0), ReasonCapacity},
		{"capacity 2^63", 24, fields(8, 1<<63), ReasonCapacity},
		{"capacity times item size", 24, fields(8, 1<<62), ReasonCapacity},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := slices.Clone(good)
			copy(b[c.offset:], c.value)
			client := rawClient(t, path)
			_, err := client.Write(b)
			require.NoError(t, err)
			status, reason := readRefusal(t, client)
			require.Equal(t, StatusInvalid, status)
			require.Equal(t, c.want, reason)
			require.NoError(t, client.Close())
		})
	}
	closeAndCount(t, l, before)
}

func TestRequestEndsEarly(t *testing.T) {
	path := socketPath(t)
	listen(t, path, Config{})
	c := rawClient(t, path)
	_, err := c.Write(encodeRequest(oneRing)[:31])
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	status, reason := readRefusal(t, c)
	require.Equal(t, StatusInvalid, status)
	require.Equal(t, ReasonTruncated, reason)
}

func TestRequestInPieces(t *testing.T) {
	path := socketPath(t)
	l := listen(t, path, Config{})
	c := rawClient(t, path)
	for _, b := range encodeRequest(oneRing) {
		_, err := c.Write([]byte{b})
		require.NoError(t, err)
	}
	require.Equal(t, oneRing, accept(t, l).Request())
}

func TestClientSendsTooMuch(t *testing.T) {
	path := socketPath(t)
	l := listen(t, path, Config{})
	c := rawClient(t, path)
	_, err := c.Write(append(encodeRequest(oneRing), 'x'))
	require.NoError(t, err)
	ended, err := accept(t, l).Check()
	require.True(t, ended)
	require.ErrorIs(t, err, ErrProtocol)
}

// The client is gone when the server answers.
func TestClientGoneBeforeAnswer(t *testing.T) {
	path := socketPath(t)
	before := proctest.Take()
	asked, answer := make(chan struct{}), make(chan struct{})
	l := listen(t, path, Config{Allow: func(Peer) error {
		close(asked)
		<-answer
		return nil
	}})
	c := rawClient(t, path)
	_, err := c.Write(encodeRequest(oneRing))
	require.NoError(t, err)
	<-asked
	require.NoError(t, c.Close())
	close(answer)
	closeAndCount(t, l, before)
	require.Empty(t, l.quota.used)
}

func TestFault40Deadline(t *testing.T) {
	path := socketPath(t)
	before := proctest.Take()
	l := listen(t, path, Config{Timeout: 10 * time.Millisecond})
	c := rawClient(t, path)
	_, _ = c.Write(encodeRequest(oneRing)[:1]) // fails if the deadline passed already
	status, reason := readRefusal(t, c)
	require.Equal(t, StatusUnavailable, status)
	require.Equal(t, ReasonDeadline, reason)
	require.NoError(t, c.Close())
	closeAndCount(t, l, before)
}

// silentRole connects count times and sends one byte each time.
func silentRole(path, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	for range n {
		c, err := net.Dial("unix", path)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write(encodeRequest(oneRing)[:1]); err != nil && !errors.Is(err, unix.EPIPE) {
			return err
		}
	}
	fmt.Println("ready")
	return readUntilEOF(os.Stdin)
}

// The deadline is far away: it is for want of places that silent clients go.
func TestFault40SilentClients(t *testing.T) {
	const clients, places = 1000, 100
	path := socketPath(t)
	before := proctest.Take()
	l := listen(t, path, Config{MaxPending: places, Timeout: time.Hour})
	p := proctest.Start(t, "silent", nil, path, strconv.Itoa(clients))
	requireReady(t, p)

	honest, err := Dial(testContext(t), path, oneRing)
	require.NoError(t, err)
	conn, err := l.Accept(testContext(t))
	require.NoError(t, err)
	require.LessOrEqual(t, len(l.pending.slots), places)
	// At most a socket for each place and one that waits for a place, the listener,
	// both sides of the connection, and two pipes and a pidfd of the process.
	require.LessOrEqual(t, proctest.Take().FDs, before.FDs+places+1+2+2*5+3)
	require.NoError(t, honest.Close())
	require.NoError(t, conn.Wait(testContext(t)))
	require.NoError(t, conn.Close())
	require.NoError(t, l.Close())
	require.Empty(t, l.quota.used)
}

// Honest clients that come all at once are only delayed by the bound.
func TestManyClientsFewPlaces(t *testing.T) {
	path := socketPath(t)
	l := listen(t, path, Config{MaxPending: 2})
	const clients = 50
	dialed := make(chan error)
	for range clients {
		go func() {
			c, err := Dial(testContext(t), path, oneRing)
			if err == nil {
				err = c.Close()
			}
			dialed <- err
		}()
	}
	for range clients {
		require.NoError(t, accept(t, l).Close())
	}
	for range clients {
		require.NoError(t, <-dialed)
	}
}

func TestSlowAcceptDisplacesNobody(t *testing.T) {
	path := socketPath(t)
	l := listen(t, path, Config{MaxPending: 1})
	first := dial(t, path, oneRing) // complete, and holds the only place
	second := make(chan *Conn)
	go func() {
		c, _ := Dial(testContext(t), path, oneRing)
		second <- c
	}()
	conn := accept(t, l)
	accept(t, l)
	c := <-second
	require.NotNil(t, c)
	require.NoError(t, c.Close())
	require.NoError(t, first.Close())
	require.NoError(t, conn.Wait(testContext(t)))
}

// strangerRole gives root up and tries what it can.
func strangerRole(path string) error {
	const nobody = 65534
	if err := errors.Join(unix.Setgroups(nil), unix.Setresgid(nobody, nobody, nobody), unix.Setresuid(nobody, nobody, nobody)); err != nil {
		return err
	}
	_, err := Dial(context.Background(), path, oneRing)
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Status != StatusDenied {
		return fmt.Errorf("dial as nobody: %w", err)
	}
	// The same with descriptors, sent before the server can have refused.
	c, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	_, _, err = c.(*net.UnixConn).WriteMsgUnix(encodeRequest(oneRing), unix.UnixRights(0, 1, 2), nil)
	if err != nil && !errors.Is(err, unix.EPIPE) {
		return err
	}
	b := make([]byte, replySize)
	fds, err := readReply(c.(*net.UnixConn), b)
	if err != nil || len(fds) != 0 {
		return fmt.Errorf("%d descriptors: %w", len(fds), err)
	}
	if _, err := decodeReply(b, oneRing); !errors.As(err, &refused) || refused.Status != StatusDenied {
		return fmt.Errorf("descriptors as nobody: %w", err)
	}
	return nil
}

func TestFault41WrongUID(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a process of another uid")
	}
	// A name without permissions, so that only the policy stands in the way.
	path := abstractName(t)
	before := proctest.Take()
	l := listen(t, path, Config{})
	p := proctest.Start(t, "stranger", nil, path)
	require.NoError(t, p.Wait())
	require.NoError(t, l.Close())
	require.Equal(t, before.FDs+2, proctest.Take().FDs, "the pipes of the process")
}

func TestFault41PolicyBeforeRequest(t *testing.T) {
	path := socketPath(t)
	asked := make(chan Peer, 2)
	l := listen(t, path, Config{Allow: func(p Peer) error {
		asked <- p
		return fs.ErrPermission
	}})
	c := rawClient(t, path) // sends nothing, and is refused all the same
	status, reason := readRefusal(t, c)
	require.Equal(t, StatusDenied, status)
	require.Equal(t, ReasonNone, reason)

	_, err := Dial(testContext(t), path, oneRing)
	require.ErrorIs(t, err, ErrRefused)
	require.NoError(t, l.Close())
	self := Peer{PID: int32(os.Getpid()), UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	require.Equal(t, self, <-asked)
	require.Equal(t, self, <-asked)
}
