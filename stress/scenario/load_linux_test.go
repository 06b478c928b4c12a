package scenario

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A board is one memory for two processes: what the one counts the other sees.
func TestBoard(t *testing.T) {
	b, f, err := newBoard()
	require.NoError(t, err)
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	other, err := openBoard(fd)
	require.NoError(t, err)
	other.sent.Add(3)
	other.doorbells.Add(1)
	require.EqualValues(t, 3, b.sent.Load())
	require.EqualValues(t, 1, b.doorbells.Load())
	require.NoError(t, b.close())
	require.NoError(t, other.close())
}

// A socket that is full takes nothing and loses nothing.
func TestSocketOutlet(t *testing.T) {
	for _, batch := range []int{1, 64} {
		t.Run(strconv.Itoa(batch), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "socket")
			listener, err := net.Listen("unix", path)
			require.NoError(t, err)
			defer listener.Close()
			o, err := newSocketOutlet(t.Context(), path, batch)
			require.NoError(t, err)
			defer o.conn.Close()
			conn, err := listener.Accept()
			require.NoError(t, err)
			defer conn.Close()

			var r record
			for sent := true; sent; {
				sent, err = o.offer(&r)
				require.NoError(t, err)
				if sent {
					r.Sequence++
				}
			}
			require.Greater(t, r.Sequence, uint64(batch))
			done := make(chan uint64)
			go func() {
				defer close(done)
				buf := make([]byte, recordSize)
				for n := uint64(0); ; n++ {
					if _, err := readFull(conn, buf); err != nil {
						done <- n
						return
					}
					if sequenceOf(buf) != n {
						t.Errorf("record %d in place of %d", sequenceOf(buf), n)
					}
				}
			}()
			for range 2*batch + 1 {
				require.NoError(t, o.force(t.Context(), &r))
				r.Sequence++
			}
			require.NoError(t, o.flush(t.Context()))
			require.NoError(t, o.flush(t.Context()))
			require.NoError(t, o.conn.Close())
			require.Equal(t, r.Sequence, <-done)
		})
	}
}

func readFull(conn net.Conn, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		m, err := conn.Read(b[n:])
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

func TestAllowDescriptors(t *testing.T) {
	now, err := allowDescriptors(1)
	require.NoError(t, err)
	require.Positive(t, now)
	beyond, err := allowDescriptors(1 << 30)
	require.NoError(t, err)
	require.GreaterOrEqual(t, beyond, now)
	require.Less(t, beyond, 1<<30)
}

// A process that waits has no wake-ups; one that is written to has.
func TestWatch(t *testing.T) {
	cat := exec.Command("cat")
	in, err := cat.StdinPipe()
	require.NoError(t, err)
	out, err := cat.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cat.Start())
	defer func() { require.NoError(t, cat.Wait()) }()
	defer in.Close()

	echo := func() {
		_, err := in.Write([]byte{1})
		require.NoError(t, err)
		_, err = out.Read(make([]byte, 1))
		require.NoError(t, err)
	}
	echo()
	before, err := switchesOf(cat.Process.Pid)
	require.NoError(t, err)
	require.Positive(t, before)
	echo()
	echo()
	after, err := switchesOf(cat.Process.Pid)
	require.NoError(t, err)
	require.Greater(t, after, before)
	_, err = switchesOf(1 << 30)
	require.ErrorIs(t, err, os.ErrNotExist)
}
