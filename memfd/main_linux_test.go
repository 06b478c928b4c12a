package memfd_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/memfd/proctest"
)

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Role{
		"fuse":     silentFUSE,
		"inject":   injected,
		"noexec":   noExec,
		"peer":     peer,
		"truncate": truncate,
	})
}

const page = 4096

// rawMemfd makes a memfd as a peer might: with these seals only, or, without
// any, one that takes further seals.
func rawMemfd(t *testing.T, size int64, seals memfd.Seals) int {
	t.Helper()
	fd, err := unix.MemfdCreate("raw", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	require.NoError(t, err)
	require.NoError(t, unix.Ftruncate(fd, size))
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, int(seals))
	require.NoError(t, err)
	return fd
}

func dup(t *testing.T, fd int) int {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	return fd
}

func create(t *testing.T, size int64, opts ...memfd.Option) *memfd.File {
	t.Helper()
	f, err := memfd.Create("test", size, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func open(t *testing.T, fd int) *memfd.File {
	t.Helper()
	f, err := memfd.Open(fd)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func mapAll(t *testing.T, f *memfd.File) *memfd.Mapping {
	t.Helper()
	m, err := f.Map(int(f.Size()))
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return !errors.Is(err, unix.EBADF)
}

// awaitClosed returns when the background has closed fd.
func awaitClosed(fd int) {
	for isOpen(fd) {
		runtime.Gosched()
	}
}

// requireSame fails if do leaves descriptors or mappings behind.
func requireSame(t *testing.T, do func()) {
	t.Helper()
	before := proctest.Take()
	do()
	after := proctest.Take()
	require.Equal(t, before.FDs, after.FDs, "descriptors")
	require.Equal(t, before.Mappings, after.Mappings, "mappings")
}
