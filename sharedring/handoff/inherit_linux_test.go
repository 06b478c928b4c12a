package handoff

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd/proctest"
)

func init() {
	roles["list"] = func([]string) int {
		for _, name := range openFiles() {
			fmt.Println(name)
		}
		return 0
	}
}

// openFiles says what the descriptors of this process are.
func openFiles() map[int]string {
	files := make(map[int]string)
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		var fd int
		fmt.Sscan(e.Name(), &fd)
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			files[fd] = name
		}
	}
	return files
}

func TestFault42NothingInherited(t *testing.T) {
	before := openFiles()
	server, client := pair(t, Request{ItemSize: 8, Capacity: 16, Direction: Duplex})
	ctx, cancel := context.WithCancel(context.Background())
	waited := make(chan error)
	for _, c := range []*Conn{server, client} {
		go func() { waited <- c.Wait(ctx) }()
	}
	defer func() {
		cancel()
		require.ErrorIs(t, <-waited, context.Canceled)
		require.ErrorIs(t, <-waited, context.Canceled)
	}()
	cmd, err := proctest.Command("list") // a child, started the way programs do
	require.NoError(t, err)
	out, err := cmd.Output()
	require.NoError(t, err)
	inherited := strings.Split(string(out), "\n")

	for fd, name := range openFiles() {
		if before[fd] == name {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == unix.EBADF {
			continue // what listed the directory
		}
		require.NoError(t, err)
		require.Equal(t, unix.FD_CLOEXEC, flags, "descriptor %d, %s", fd, name)
		if !strings.HasPrefix(name, "anon_inode:") { // of which a child has its own
			require.NotContains(t, inherited, name)
		}
	}
}
