package memfd_test

import (
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/memfd/proctest"
)

func TestCreateSealsSizeAndCloexec(t *testing.T) {
	f := create(t, 5000)
	require.Equal(t, int64(5000), f.Size(), "exactly what was asked for")
	require.Equal(t, int64(os.Getpagesize()), f.PageSize())

	seals, err := f.Seals()
	require.NoError(t, err)
	require.Equal(t, memfd.SealShrink|memfd.SealGrow|memfd.SealSeal, seals&^memfd.SealExec)
	for _, size := range []int64{0, 4999, 5001} {
		require.ErrorIs(t, unix.Ftruncate(f.FD(), size), unix.EPERM, "%d bytes", size)
	}

	flags, err := unix.FcntlInt(uintptr(f.FD()), unix.F_GETFD, 0)
	require.NoError(t, err)
	require.NotZero(t, flags&unix.FD_CLOEXEC)
}

func TestCreateIsZeroed(t *testing.T) {
	for i, b := range mapAll(t, create(t, 5000)).Bytes() {
		require.Zero(t, b, "byte %d", i)
	}
}

func TestCreateName(t *testing.T) {
	for _, name := range []string{"", strings.Repeat("n", 249), "a b/c\n"} {
		f, err := memfd.Create(name, page)
		require.NoError(t, err, "%q", name)
		require.NoError(t, f.Close())
	}
	requireSame(t, func() {
		for _, name := range []string{strings.Repeat("n", 250), "a\x00b"} {
			_, err := memfd.Create(name, page)
			require.ErrorIs(t, err, unix.EINVAL, "%q", name)
			require.ErrorContains(t, err, "name")
		}
	})
}

func TestFault24Size(t *testing.T) {
	requireSame(t, func() {
		for _, size := range []int64{0, -1, math.MinInt64, math.MaxInt64, math.MaxInt64 - page + 1} {
			_, err := memfd.Create("test", size)
			require.ErrorIs(t, err, memfd.ErrSize, "%d bytes", size)
			_, err = memfd.WriteOnce("test", size, nil)
			require.ErrorIs(t, err, memfd.ErrSize, "%d bytes", size)
			_, err = memfd.Create("test", size, memfd.WithHugePages(memfd.HugePages2MB))
			require.ErrorIs(t, err, memfd.ErrSize, "%d bytes", size)
		}
		_, err := memfd.Create("test", math.MaxInt64-1<<29, memfd.WithHugePages(memfd.HugePages1GB))
		require.ErrorIs(t, err, memfd.ErrSize, "no multiple of the huge page")
		_, err = memfd.Create("test", page, memfd.WithHugePages(3<<20))
		require.ErrorIs(t, err, memfd.ErrSize, "no such huge page")
	})
}

func TestCloseIsIdempotent(t *testing.T) {
	f := create(t, page)
	fd := f.FD()
	require.NoError(t, f.Close())
	require.False(t, isOpen(fd))
	require.NoError(t, f.Close())
	require.Equal(t, -1, f.FD())

	_, err := f.Map(page)
	require.ErrorIs(t, err, os.ErrClosed)
	_, err = f.MapReadOnly(page)
	require.ErrorIs(t, err, os.ErrClosed)
	_, err = f.Seals()
	require.ErrorIs(t, err, os.ErrClosed)
	require.ErrorIs(t, f.AddSeals(memfd.SealWrite), os.ErrClosed)
}

func TestAddSeals(t *testing.T) {
	f := open(t, rawMemfd(t, page, 0))
	require.NoError(t, f.AddSeals(memfd.SealGrow|memfd.SealSeal))
	require.NoError(t, f.AddSeals(memfd.SealGrow|memfd.SealShrink), "both are there")
	err := f.AddSeals(memfd.SealWrite | memfd.SealGrow)
	require.ErrorIs(t, err, memfd.ErrNotSealed)
	require.ErrorIs(t, err, unix.EPERM)
	require.ErrorContains(t, err, `F_ADD_SEALS, WRITE) on "raw", which has SEAL|SHRINK|GROW`)
}

func TestWriteOnce(t *testing.T) {
	f, err := memfd.WriteOnce("once", 5000, func(b []byte) error {
		require.Len(t, b, 5000)
		b[4999] = 7
		return nil
	})
	require.NoError(t, err)
	defer f.Close()

	seals, err := f.Seals()
	require.NoError(t, err)
	require.True(t, seals.Has(memfd.SealShrink|memfd.SealGrow|memfd.SealWrite|memfd.SealSeal), seals)
	_, err = unix.Pwrite(f.FD(), []byte{1}, 0)
	require.ErrorIs(t, err, unix.EPERM)
	_, err = f.Map(page)
	require.ErrorIs(t, err, unix.EPERM)
	require.ErrorContains(t, err, "WRITE")

	// Any number of readers, here and from a descriptor that was handed on.
	for _, reader := range []*memfd.File{f, f, open(t, dup(t, f.FD()))} {
		m, err := reader.MapReadOnly(5000)
		require.NoError(t, err)
		require.Equal(t, byte(7), m.Bytes()[4999])
		require.NoError(t, m.Close())
	}
}

func TestWriteOnceFillFails(t *testing.T) {
	broken := errors.New("broken")
	requireSame(t, func() {
		_, err := memfd.WriteOnce("once", page, func([]byte) error { return broken })
		require.ErrorIs(t, err, broken)
		require.ErrorContains(t, err, `fill "once"`)
	})
}

func TestWriteOnceFillPanics(t *testing.T) {
	requireSame(t, func() {
		require.PanicsWithValue(t, "broken", func() {
			_, _ = memfd.WriteOnce("once", page, func([]byte) error { panic("broken") })
		})
	})
}

// peer takes the memory as descriptor 3, adds 1 to its first byte, and stays
// until its standard input ends.
func peer([]string) int {
	f, err := memfd.Open(3)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	m, err := f.Map(int(f.Size()))
	if err != nil {
		return fail(err)
	}
	defer m.Close()
	m.Bytes()[0]++
	if _, err := io.WriteString(os.Stdout, "done\n"); err != nil {
		return fail(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func fail(err error) int {
	_, _ = io.WriteString(os.Stderr, err.Error()+"\n")
	return 1
}

func TestMemoryIsSharedWithAnotherProcess(t *testing.T) {
	f := create(t, page)
	m := mapAll(t, f)
	m.Bytes()[0] = 41

	file := os.NewFile(uintptr(dup(t, f.FD())), "memory")
	defer file.Close()
	p := proctest.Start(t, "peer", []*os.File{file})
	_, err := p.Stdout.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, byte(42), m.Bytes()[0])

	// What the peer has mapped stays when we let go, and the reverse.
	require.NoError(t, m.Close())
	require.NoError(t, p.Stdin.Close())
	require.NoError(t, p.Wait())
	require.Equal(t, byte(42), mapAll(t, f).Bytes()[0])
}
