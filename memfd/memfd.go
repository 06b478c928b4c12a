// Package memfd creates, verifies and maps sealed anonymous memory, for
// sharing it with processes that need not be trusted.
//
// Create makes memory that both sides write, WriteOnce memory that nobody can
// change any more, and Open takes a descriptor from a peer after it made sure
// that the peer cannot take the pages away again: touching a page that was
// truncated kills a process with SIGBUS, and the SHRINK seal rules that out.
//
// All lengths and sizes are in bytes. Errors wrap the errno of the call that
// failed and, where one fits, a sentinel of this package. It is for Linux;
// elsewhere everything fails with errors.ErrUnsupported.
package memfd

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

var (
	// ErrNotSealed: a seal that safety depends on is missing and cannot be
	// added.
	ErrNotSealed = errors.New("not sealed")
	// ErrNotMemfd: the descriptor is something else than a memfd.
	ErrNotMemfd = errors.New("not a memfd")
	// ErrTooSmall: the file is shorter than the mapping asked for.
	ErrTooSmall = errors.New("file too small")
	// ErrSize: the argument is no possible size, being zero, negative or
	// beyond what can be mapped.
	ErrSize = errors.New("impossible size")
)

// A File owns the descriptor of one memfd. It always has the SHRINK seal, so
// its first Size bytes stay where they are whatever a peer does.
//
// Its methods may be called from any goroutine. A File that is never closed
// keeps its descriptor: there is no finalizer, because the number returned by
// FD may be in use where the collector cannot see it.
type File struct {
	name      string // for errors only; a peer chooses it freely
	readWrite bool   // how the descriptor is open
	size      int64
	pageSize  int64 // of this file, which may be a huge page

	mu sync.Mutex
	fd int // -1 when closed
}

// FD returns the descriptor, or -1 after Close. It is borrowed: it is valid
// until Close, and whoever needs it for longer duplicates it.
func (f *File) FD() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fd
}

// Size returns the bytes that can be mapped. That is the size when the file
// was created or opened; a peer may be able to grow it since, never to shrink
// it.
func (f *File) Size() int64 { return f.size }

// PageSize returns the bytes of one page of this file: the huge page if it has
// those, else the page of the system. Whoever opens memory of a peer can
// refuse huge pages by it: they come from a pool, and a peer that frees a page
// by punching a hole can leave that pool empty for the next to touch it.
func (f *File) PageSize() int64 { return f.pageSize }

// Close closes the descriptor. Mappings stay. Further calls do nothing and
// return nil.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return nil
	}
	err := closeFD(f.fd)
	f.fd = -1 // also after an error: Linux has let go of it even then, close(2)
	if err != nil {
		return fmt.Errorf("memfd: close %q: %w", f.name, err)
	}
	return nil
}

// use runs do with the descriptor, which stays open meanwhile.
func (f *File) use(do func(fd int) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return os.ErrClosed
	}
	return do(f.fd)
}
