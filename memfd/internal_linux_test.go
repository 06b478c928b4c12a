package memfd

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestRetryOnInterrupt(t *testing.T) {
	results := []error{unix.EINTR, unix.EINTR, nil}
	calls := 0
	require.NoError(t, retry(func() error { calls++; return results[calls-1] }))
	require.Equal(t, 3, calls)

	other := errors.New("other")
	require.ErrorIs(t, retry(func() error { return other }), other)
}

// A page that is not there raises SIGBUS, as a huge page does when the pool is
// empty.
func TestTouchSurvivesMissingPages(t *testing.T) {
	fd, err := unix.MemfdCreate("short", unix.MFD_CLOEXEC)
	require.NoError(t, err)
	defer closeFD(fd)
	require.NoError(t, ftruncate(fd, 4096))
	for _, writable := range []bool{true, false} {
		pages, err := mapFile(fd, 3*4096, writable)
		require.NoError(t, err)
		require.ErrorIs(t, touch(pages, writable), unix.EFAULT)
		require.NoError(t, touch(pages[:4096], writable))
		require.NoError(t, unmap(pages))
	}
}
