package memfd

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"
	"syscall"
)

// A Mapping is memory of a File in the address space of this process. It does
// not need the File any more.
//
// The memory is unmapped when the collector finds the Mapping unreachable,
// closed or not. So keep the Mapping for as long as a slice of it is in use:
// the slice alone does not keep it.
type Mapping struct {
	name     string
	pages    []byte // whole pages of the file, never changed
	length   int    // what was asked for
	writable bool

	mu     sync.Mutex
	closed bool
}

// Map maps the first length bytes, shared with all holders of the memory, for
// reading and writing. It fails with ErrTooSmall if the file is shorter, with
// EPERM if it is sealed WRITE or FUTURE_WRITE, and with EACCES if its
// descriptor is not open for reading and writing.
//
// A peer may change the bytes at any time. Load each of them once, atomically
// where it matters, check it, and use that copy.
func (f *File) Map(length int) (*Mapping, error) {
	if err := f.checkLength(length); err != nil {
		return nil, err
	}
	if !f.readWrite {
		return nil, fmt.Errorf("memfd: map %q read-write: its descriptor is not open for reading and writing: %w", f.name, syscall.EACCES)
	}
	return f.mapPages(length, true)
}

// MapReadOnly maps the first length bytes for reading. It requires the seals
// SHRINK and WRITE, adds them where they are missing and allowed, and fails
// with ErrNotSealed if they cannot be had. So the bytes never change, and a
// plain read of them is safe. Writing to them is a fault.
func (f *File) MapReadOnly(length int) (*Mapping, error) {
	if err := f.checkLength(length); err != nil {
		return nil, err
	}
	if err := f.AddSeals(SealShrink | SealWrite); err != nil {
		return nil, err
	}
	return f.mapPages(length, false)
}

func (f *File) checkLength(length int) error {
	// Whole pages are mapped, so those have to have a length too.
	if length <= 0 || int64(length) > math.MaxInt-f.pageSize {
		return fmt.Errorf("memfd: map %d bytes of %q: %w", length, f.name, ErrSize)
	}
	if int64(length) > f.size {
		return fmt.Errorf("memfd: map %d bytes of %q, which has %d: %w", length, f.name, f.size, ErrTooSmall)
	}
	return nil
}

func (f *File) mapPages(length int, writable bool) (*Mapping, error) {
	// The kernel maps whole pages but unmaps whole huge pages only where it
	// is told a whole number of them, so the rounded length has to be kept.
	rounded := roundUp(int64(length), f.pageSize)
	var pages []byte
	err := f.use(func(fd int) (err error) {
		pages, err = mapFile(fd, int(rounded), writable)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("memfd: mmap %d bytes of %q %s: %w%s", rounded, f.name, access(writable), err, f.mapHint(err))
	}
	m := &Mapping{name: f.name, pages: pages, length: length, writable: writable}
	runtime.AddCleanup(m, func(pages []byte) { _ = unmap(pages) }, pages)
	return m, nil
}

func access(writable bool) string {
	if writable {
		return "read-write"
	}
	return "read-only"
}

// mapHint says what an errno of mmap means here, if that can be told.
func (f *File) mapHint(err error) string {
	switch {
	case errors.Is(err, syscall.EPERM):
		if seals, err := f.Seals(); err == nil {
			return fmt.Sprintf(" (sealed %v)", seals)
		}
	case errors.Is(err, syscall.ENOMEM) && f.pageSize != int64(os.Getpagesize()):
		return fmt.Sprintf(" (too few huge pages of %d bytes are free, see vm.nr_hugepages)", f.pageSize)
	}
	return ""
}

// Bytes returns the mapped bytes, as many as were asked for. It may be called
// from any goroutine. The slice may be used for as long as the Mapping is
// reachable; after Close it shows zeroes and writing to it reaches nobody.
func (m *Mapping) Bytes() []byte { return m.pages[:m.length:m.length] }

// Lock keeps the pages in memory, mlock(2): touching them never waits for
// swap. It also prefaults them. RLIMIT_MEMLOCK bounds it.
func (m *Mapping) Lock() error {
	err := m.use(func() error { return lock(m.pages) })
	if err != nil {
		return fmt.Errorf("memfd: mlock %d bytes of %q: %w%s", len(m.pages), m.name, err, lockHint(err))
	}
	return nil
}

func lockHint(err error) string {
	// mlock(2): which one it is depends on whether the limit is 0.
	if errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EAGAIN) {
		return " (is RLIMIT_MEMLOCK too low?)"
	}
	return ""
}

// Prefault has the kernel allocate and map all pages now, so that the first
// touch of each is as fast as the later ones. It changes no byte and may run
// while peers use the memory.
func (m *Mapping) Prefault() error {
	err := m.use(func() error {
		err := populate(m.pages, m.writable)
		if errors.Is(err, syscall.EINVAL) { // kernel before 5.14
			err = touch(m.pages, m.writable)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("memfd: prefault %d bytes of %q: %w", len(m.pages), m.name, err)
	}
	return nil
}

// Free gives the memory of the pages back to the system, for all who map them: they
// read zeroes from then on. It is for shared memory that nobody needs any more but a
// peer may hold on to, at our expense.
func (m *Mapping) Free() error {
	err := m.use(func() error { return free(m.pages) })
	if err != nil {
		return fmt.Errorf("memfd: free %d bytes of %q: %w", len(m.pages), m.name, err)
	}
	return nil
}

// Close takes the memory away from this process, but not the addresses: one
// mmap puts private zero pages in their place. So a slice that is still in use
// stays readable, can no longer reach the peer, and can never show what is
// mapped next at the same address. The addresses are given back when the
// Mapping becomes unreachable.
//
// It may be called from any goroutine, also while others use the bytes.
// Further calls do nothing and return nil.
func (m *Mapping) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	if err := replaceByZeroes(m.pages, m.writable); err != nil {
		return fmt.Errorf("memfd: mmap zeroes over %d bytes of %q: %w", len(m.pages), m.name, err)
	}
	m.closed = true
	return nil
}

// use runs do while Close waits.
func (m *Mapping) use(do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return os.ErrClosed
	}
	return do()
}
