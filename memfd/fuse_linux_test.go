package memfd_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/memfd/proctest"
)

// Requests of a FUSE file system, include/uapi/linux/fuse.h.
const (
	fuseLookup = 1
	fuseOpen   = 14
	fuseFlush  = 25
	fuseInit   = 26
)

// TestFault14SilentFUSE opens files of a server that answered until the file
// was open and never answers again. If Open asked that server anything it would hang.
func TestFault14SilentFUSE(t *testing.T) {
	for _, c := range []struct{ name, says string }{
		{"silent", `is "/silent"`},
		// It looks like a memfd, so that only F_GET_SEALS tells.
		{"memfd:silent", "fcntl(F_GET_SEALS)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, fd := startFUSE(t, c.name)
			_, err := memfd.Open(fd)
			require.ErrorIs(t, err, memfd.ErrNotMemfd)
			require.ErrorContains(t, err, c.says)
			// The first thing that the server hears is that the
			// background closes the file. No size was asked for.
			require.Equal(t, fuseFlush, nextRequest(t, p))

			require.NoError(t, p.Kill())
			awaitClosed(fd)
		})
	}
}

// Each close of such a file holds a thread, and the runtime ends a process
// that has too many.
func TestFault14ManySilentFUSE(t *testing.T) {
	const many, closers = 100, 16
	p, fd := startFUSE(t, "silent")
	fds := []int{fd}
	for range many - 1 {
		fds = append(fds, dup(t, fd))
	}
	before := proctest.Take()
	for _, fd := range fds {
		_, err := memfd.Open(fd)
		require.ErrorIs(t, err, memfd.ErrNotMemfd)
	}
	for range closers {
		require.Equal(t, fuseFlush, nextRequest(t, p))
	}
	after := proctest.Take()
	require.LessOrEqual(t, after.Goroutines, before.Goroutines+closers)
	require.Less(t, after.Threads, before.Threads+many/2, "the runtime may need a few of its own")

	require.NoError(t, p.Kill())
	for _, fd := range fds {
		awaitClosed(fd)
	}
}

// startFUSE starts a silent server and returns an open file of it. A process
// must not be started while that is open: closing it on exec would hang.
func startFUSE(t *testing.T, name string) (*proctest.Process, int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	theirs := os.NewFile(uintptr(pair[1]), "socket")
	p := proctest.Start(t, "fuse", []*os.File{theirs}, name)
	require.NoError(t, theirs.Close())
	fd, err := receiveFD(pair[0])
	require.NoError(t, unix.Close(pair[0]))
	if err != nil {
		reason, _ := p.Stdout.ReadString('\n')
		require.NoError(t, p.Wait(), "%v %s", err, reason)
		t.Skipf("no FUSE file system here: %s", reason)
	}
	line, err := p.Stdout.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "silent\n", line)
	return p, fd
}

func receiveFD(socket int) (int, error) {
	data, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, data, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return -1, errors.New("no descriptor came")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

// nextRequest returns what the server was asked for next, after the open.
func nextRequest(t *testing.T, p *proctest.Process) int {
	t.Helper()
	line, err := p.Stdout.ReadString('\n')
	require.NoError(t, err)
	opcode, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	return opcode
}

// silentFUSE serves a file named by the first argument, sends a descriptor of
// it over descriptor 3, and prints each request that it does not answer.
// Where no such file system can be had it prints why.
func silentFUSE(args []string) int {
	device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		fmt.Println("open /dev/fuse:", err)
		return 0
	}
	dir, err := detachedMount("fuse", map[string]string{
		"fd": strconv.Itoa(device), "rootmode": "40000", "user_id": "0", "group_id": "0",
	})
	if err != nil {
		fmt.Println(err)
		return 0
	}
	opened, served := make(chan int), make(chan error)
	go func() { served <- serveFUSE(device) }()
	go func() {
		fd, err := unix.Openat(dir, args[0], unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			served <- fmt.Errorf("open: %w", err)
			return
		}
		opened <- fd
	}()
	select {
	case fd := <-opened:
		if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(fd), nil, 0); err != nil {
			return fail(err)
		}
		// With the file open in the server too, killing the server would
		// hang: it would close the file before its end of the device.
		if err := unix.Close(fd); err != nil {
			return fail(err)
		}
		unix.Close(3)
		fmt.Println("silent")
	case err := <-served:
		return fail(err)
	}
	return fail(<-served)
}

// serveFUSE answers what opening a file and closing it once needs, and nothing
// after that.
func serveFUSE(device int) error {
	request := make([]byte, 1<<17)
	silent := false
	for {
		n, err := unix.Read(device, request)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		// struct fuse_in_header: u32 len, u32 opcode, u64 unique, ...
		if n < 40 {
			return fmt.Errorf("request of %d bytes", n)
		}
		opcode, unique := binary.NativeEndian.Uint32(request[4:]), binary.NativeEndian.Uint64(request[8:])
		answer, ok := fuseAnswer(opcode)
		if silent || !ok {
			fmt.Println(opcode)
			continue
		}
		silent = opcode == fuseFlush
		// struct fuse_out_header: u32 len, s32 error, u64 unique.
		reply := binary.NativeEndian.AppendUint32(nil, uint32(16+len(answer)))
		reply = binary.NativeEndian.AppendUint32(reply, 0)
		reply = binary.NativeEndian.AppendUint64(reply, unique)
		if _, err := unix.Write(device, append(reply, answer...)); err != nil {
			return fmt.Errorf("answer request %d: %w", opcode, err)
		}
	}
}

func fuseAnswer(opcode uint32) (answer []byte, ok bool) {
	switch opcode {
	case fuseInit:
		// struct fuse_init_out: u32 major, u32 minor, ...
		answer = make([]byte, 64)
		binary.NativeEndian.PutUint32(answer[0:], 7)
		binary.NativeEndian.PutUint32(answer[4:], 31)
		binary.NativeEndian.PutUint32(answer[20:], 4096) // max_write
		return answer, true
	case fuseLookup:
		// struct fuse_entry_out: u64 nodeid at 0, u64 entry_valid at 16;
		// struct fuse_attr at 40: u64 ino, ..., u32 mode at 60, u32 nlink.
		answer = make([]byte, 128)
		binary.NativeEndian.PutUint64(answer[0:], 2)
		binary.NativeEndian.PutUint64(answer[16:], 3600) // seconds
		binary.NativeEndian.PutUint64(answer[40:], 2)
		binary.NativeEndian.PutUint32(answer[40+60:], unix.S_IFREG|0o666)
		binary.NativeEndian.PutUint32(answer[40+64:], 1)
		return answer, true
	case fuseOpen:
		return make([]byte, 16), true // struct fuse_open_out
	case fuseFlush:
		return nil, true
	}
	return nil, false
}
