package scenario

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"unsafe"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/stress/harness"
)

// The arm copy is no way to communicate but what the best one could reach: two
// processes copy into shared memory and out of it, and spin. It checks nothing and
// never sleeps.

const (
	copyPart  = 64 << 10 // bytes copied between two looks at the other side
	copyParts = 16
)

// copyCounts are parts, in cache lines of their own.
type copyCounts struct {
	in  atomic.Uint64
	_   [56]byte
	out atomic.Uint64
	_   [56]byte
}

// copyEnd is one end of the shared memory.
type copyEnd struct {
	*copyCounts
	data    []byte
	mapping *memfd.Mapping
	done    uint64 // parts
	over    atomic.Bool
}

const copyBytes = int(unsafe.Sizeof(copyCounts{})) + copyParts*copyPart

func newCopy(context.Context) (*end, []int, error) {
	f, err := memfd.Create("stress-copy", int64(copyBytes))
	if err != nil {
		return nil, nil, err
	}
	c, err := mapCopy(f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return &end{Reader: c, hangUp: c.hangUp, close: c.mapping.Close}, []int{f.FD()}, nil
}

func openCopy(ctx context.Context) (*end, error) {
	f, err := memfd.Open(firstFile)
	if err != nil {
		return nil, err
	}
	c, err := mapCopy(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return &end{Writer: c, hangUp: c.hangUp, close: c.mapping.Close}, nil
}

func mapCopy(f *memfd.File) (*copyEnd, error) {
	m, err := f.Map(copyBytes)
	if err != nil {
		return nil, err
	}
	if err := m.Prefault(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	counts := (*copyCounts)(unsafe.Pointer(unsafe.SliceData(m.Bytes())))
	return &copyEnd{copyCounts: counts, data: m.Bytes()[unsafe.Sizeof(*counts):], mapping: m}, nil
}

func (c *copyEnd) hangUp() { c.over.Store(true) }

func (c *copyEnd) part() []byte { return c.data[c.done%copyParts*copyPart:][:copyPart] }

// Read takes one part. p has room for it.
func (c *copyEnd) Read(p []byte) (int, error) {
	for c.in.Load() == c.done {
		if c.over.Load() && c.in.Load() == c.done {
			return 0, io.EOF
		}
	}
	n := copy(p, c.part())
	c.done++
	c.out.Store(c.done)
	return n, nil
}

// Write is for whole parts.
func (c *copyEnd) Write(p []byte) (done int, err error) {
	for done < len(p) {
		for c.done-c.out.Load() == copyParts {
			if c.over.Load() {
				return done, io.EOF
			}
		}
		done += copy(c.part(), p[done:])
		c.done++
		c.in.Store(c.done)
	}
	return done, nil
}

// notWholeParts is why messages of other sizes are not copied.
func notWholeParts(p harness.Params) string {
	if p.Size%copyPart != 0 {
		return "it copies 64 KiB at a time"
	}
	return oneCPU(p)
}
