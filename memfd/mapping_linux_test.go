package memfd_test

import (
	"math"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/memfd/proctest"
)

func TestMapLengths(t *testing.T) {
	f := create(t, 5000)
	for _, length := range []int{1, page, page + 1, 5000} {
		m, err := f.Map(length)
		require.NoError(t, err)
		require.Len(t, m.Bytes(), length)
		require.NoError(t, m.Close())
	}
	requireSame(t, func() {
		for length, want := range map[int]error{
			0:           memfd.ErrSize,
			-1:          memfd.ErrSize,
			math.MinInt: memfd.ErrSize,
			math.MaxInt: memfd.ErrSize,
			5001:        memfd.ErrTooSmall,
			1 << 30:     memfd.ErrTooSmall,
		} {
			_, err := f.Map(length)
			require.ErrorIs(t, err, want, "%d bytes", length)
			_, err = f.MapReadOnly(length)
			require.ErrorIs(t, err, want, "%d bytes", length)
		}
	})
	seals, err := f.Seals()
	require.NoError(t, err)
	require.False(t, seals.Has(memfd.SealWrite), "a call that fails adds no seal")
}

// A peer may give its memfd any size, since it need not have the pages.
func TestMapLengthOverflow(t *testing.T) {
	f := open(t, rawMemfd(t, math.MaxInt64, 0))
	require.Equal(t, int64(math.MaxInt64), f.Size())
	requireSame(t, func() {
		_, err := f.Map(math.MaxInt)
		require.ErrorIs(t, err, memfd.ErrSize)
		_, err = f.Map(math.MaxInt - page)
		require.ErrorIs(t, err, unix.ENOMEM)
	})
}

func TestMappingOutlivesFile(t *testing.T) {
	f := create(t, page)
	m := mapAll(t, f)
	require.NoError(t, f.Close())
	m.Bytes()[0] = 1
	require.Equal(t, byte(1), m.Bytes()[0])
}

func TestMapReadOnlyAddsSeals(t *testing.T) {
	f := open(t, rawMemfd(t, page, 0))
	m, err := f.MapReadOnly(page)
	require.NoError(t, err)
	defer m.Close()
	seals, err := f.Seals()
	require.NoError(t, err)
	require.True(t, seals.Has(memfd.SealShrink|memfd.SealWrite))
}

func TestMapReadOnlyRefusedWhileSomeoneWrites(t *testing.T) {
	f := open(t, rawMemfd(t, page, 0))
	m := mapAll(t, f)
	_, err := f.MapReadOnly(page)
	require.ErrorIs(t, err, memfd.ErrNotSealed)
	require.ErrorIs(t, err, unix.EBUSY)

	require.NoError(t, m.Close())
	ro, err := f.MapReadOnly(page)
	require.NoError(t, err, "Close took the writable mapping away")
	require.NoError(t, ro.Close())
}

func TestCloseKeepsStragglersFromThePeer(t *testing.T) {
	f := create(t, 2*page)
	mine, theirs := mapAll(t, f), mapAll(t, f)
	b := mine.Bytes()
	b[0], b[page] = 1, 2

	require.NoError(t, mine.Close())
	require.Zero(t, b[0], "zeroes in its place")
	require.Zero(t, b[page])
	b[0] = 9
	require.Equal(t, byte(1), theirs.Bytes()[0])
	require.Equal(t, byte(2), theirs.Bytes()[page])
	require.NoError(t, mine.Close())
	require.Equal(t, byte(9), b[0], "the second Close did nothing")
	runtime.GC()
	b[0]++ // still there, because mine is
	runtime.KeepAlive(mine)
}

func TestCloseReadOnlyKeepsStragglers(t *testing.T) {
	f, err := memfd.WriteOnce("once", page, func(b []byte) error { b[0] = 1; return nil })
	require.NoError(t, err)
	defer f.Close()
	m, err := f.MapReadOnly(page)
	require.NoError(t, err)
	b := m.Bytes()
	require.Equal(t, byte(1), b[0])
	require.NoError(t, m.Close())
	require.Zero(t, b[0])
	runtime.KeepAlive(m)
}

func TestCloseBesideUse(t *testing.T) {
	const users = 4
	f := create(t, 4*page)
	for range 100 {
		m, err := f.Map(4 * page)
		require.NoError(t, err)
		var started, done sync.WaitGroup
		var stop atomic.Bool
		for user := range users {
			started.Add(1)
			done.Go(func() {
				// Words, because the pages under them change at any moment.
				word := (*atomic.Uint64)(unsafe.Pointer(&m.Bytes()[user*page]))
				word.Add(1)
				started.Done()
				for !stop.Load() {
					word.Add(1)
					runtime.Gosched()
				}
			})
		}
		started.Wait()
		for range 2 {
			done.Go(func() {
				if err := m.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				stop.Store(true)
			})
		}
		done.Wait()
		runtime.KeepAlive(m) // the users have no more than a slice
	}
}

func TestMappingIsUnmappedWhenUnreachable(t *testing.T) {
	before := proctest.Take().Mappings
	m, err := create(t, page).Map(page)
	require.NoError(t, err)
	m.Bytes()[0] = 1
	require.Equal(t, before+1, proctest.Take().Mappings)
	runtime.KeepAlive(m) // and then never closed
	awaitMappings(before)
}

func awaitMappings(n int) {
	for proctest.Take().Mappings != n {
		runtime.GC()
	}
}

func TestLock(t *testing.T) {
	m := mapAll(t, create(t, 5000))
	before := lockedKiB(t)
	require.NoError(t, m.Lock())
	require.Equal(t, before+2*page/1024, lockedKiB(t))
	require.NoError(t, m.Close())
	require.Equal(t, before, lockedKiB(t), "Close unlocks")
	require.ErrorIs(t, m.Lock(), os.ErrClosed)
}

func lockedKiB(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	match := regexp.MustCompile(`VmLck:\s*(\d+) kB`).FindSubmatch(status)
	require.NotNil(t, match)
	n, err := strconv.Atoi(string(match[1]))
	require.NoError(t, err)
	return n
}

func TestPrefault(t *testing.T) {
	f := create(t, 64*page-1)
	m := mapAll(t, f)
	m.Bytes()[page] = 7
	require.Equal(t, 1, allocatedPages(t, f))
	require.NoError(t, m.Prefault())
	require.Equal(t, 64, allocatedPages(t, f))
	require.Equal(t, byte(7), m.Bytes()[page])
	require.NoError(t, m.Close())
	require.ErrorIs(t, m.Prefault(), os.ErrClosed)
}

func TestPrefaultReadOnly(t *testing.T) {
	f, err := memfd.WriteOnce("once", 64*page, func([]byte) error { return nil })
	require.NoError(t, err)
	defer f.Close()
	m, err := f.MapReadOnly(64 * page)
	require.NoError(t, err)
	defer m.Close()
	require.NoError(t, m.Prefault())
	require.Equal(t, 64, allocatedPages(t, f))
}

func allocatedPages(t *testing.T, f *memfd.File) int {
	t.Helper()
	var stat unix.Stat_t
	require.NoError(t, unix.Fstat(f.FD(), &stat))
	return int(stat.Blocks) * 512 / page
}

// Which of the two happens depends on the pool of the machine.
func TestFault22HugePagesMissing(t *testing.T) {
	for _, size := range []memfd.HugePageSize{memfd.HugePages2MB, memfd.HugePages1GB} {
		f, err := memfd.Create("huge", 1, memfd.WithHugePages(size))
		if err != nil { // this machine has no such pages at all
			require.ErrorContains(t, err, `memfd_create "huge"`)
			continue
		}
		defer f.Close()
		require.Equal(t, int64(size), f.PageSize())
		require.Equal(t, int64(size), f.Size(), "rounded up")
		require.Equal(t, int64(size), open(t, dup(t, f.FD())).PageSize())
		requireSame(t, func() {
			m, err := f.Map(1)
			if err == nil { // the pool had one
				m.Bytes()[0] = 1
				require.NoError(t, m.Close())
				return
			}
			require.ErrorIs(t, err, unix.ENOMEM)
			require.ErrorContains(t, err, "vm.nr_hugepages")
		})
	}
}

// munmap refuses a part of a huge page, so a length that is not a multiple
// would stay mapped for ever.
func TestFault23HugeLengthNotAMultiple(t *testing.T) {
	f, err := memfd.Create("huge", int64(memfd.HugePages2MB)+1, memfd.WithHugePages(memfd.HugePages2MB))
	if err != nil {
		require.ErrorContains(t, err, `memfd_create "huge"`)
		return
	}
	defer f.Close()
	require.Equal(t, int64(2*memfd.HugePages2MB), f.Size())

	before := proctest.Take().Mappings
	if m, err := f.Map(3 * page); err == nil {
		require.NoError(t, m.Prefault())
		require.Len(t, m.Bytes(), 3*page)
		require.NoError(t, m.Close())
		require.Equal(t, before, proctest.Take().Mappings)
		_, err = f.Map(int(memfd.HugePages2MB) + 1) // never closed
		require.NoError(t, err)
		awaitMappings(before)
		return
	}
	require.Equal(t, before, proctest.Take().Mappings, "no huge page is free, and nothing is left")
}
