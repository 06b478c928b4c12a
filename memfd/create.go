package memfd

import (
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"
)

// HugePageSize is the size of a huge page in bytes.
type HugePageSize int64

// The huge pages that memfd_create(2) offers on all common machines.
const (
	HugePages2MB HugePageSize = 2 << 20
	HugePages1GB HugePageSize = 1 << 30
)

// An Option changes how Create and WriteOnce make the memory.
type Option func(*config)

type config struct {
	huge HugePageSize // 0: pages of the system
}

// WithHugePages takes huge pages of the given size from the pool that the
// administrator has reserved (vm.nr_hugepages). The size of the file is
// rounded up to whole huge pages. When the pool is empty, mapping the file
// fails with ENOMEM; creating it does not.
func WithHugePages(size HugePageSize) Option {
	return func(c *config) { c.huge = size }
}

// maxName is the longest name that memfd_create(2) takes, in bytes.
const maxName = 249

// Create makes memory of size bytes, all zero, which is sealed
// SHRINK|GROW|SEAL: its size is final, and nobody can add the seals that
// would end writing. The size is exactly the one asked for, but for huge
// pages. The name shows in /proc and in errors, need not be unique, and has at
// most 249 bytes.
//
// The descriptor is closed on exec, and the file can never be executed on
// kernels from 6.3 on, which give it the EXEC seal too. The caller owns the
// File.
func Create(name string, size int64, opts ...Option) (*File, error) {
	f, err := create(name, size, opts)
	if err != nil {
		return nil, err
	}
	if err := f.AddSeals(SealShrink | SealGrow | SealSeal); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// WriteOnce makes memory of size bytes that fill writes and that is then
// sealed SHRINK|GROW|WRITE|SEAL, so that nobody can ever change it again;
// MapReadOnly maps it on either side. fill gets the memory, all zero, and must
// not use the slice after it returned. If fill fails or panics nothing is
// left, and its error is wrapped or the panic goes on. The caller owns the
// File.
func WriteOnce(name string, size int64, fill func(b []byte) error, opts ...Option) (*File, error) {
	f, err := create(name, size, opts)
	if err != nil {
		return nil, err
	}
	complete := false
	defer func() {
		if !complete { // deferred, because fill may panic
			f.Close()
		}
	}()
	if err := f.fill(fill); err != nil {
		return nil, err
	}
	if err := f.AddSeals(SealShrink | SealGrow | SealWrite | SealSeal); err != nil {
		return nil, err
	}
	complete = true
	return f, nil
}

// fill maps the file for as long as fill runs: the WRITE seal is refused while
// a writable mapping exists.
func (f *File) fill(fill func(b []byte) error) (err error) {
	m, err := f.Map(int(f.size))
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := m.Close(); err == nil {
			err = closeErr
		}
	}()
	if err := fill(m.Bytes()); err != nil {
		return fmt.Errorf("memfd: fill %q: %w", f.name, err)
	}
	return nil
}

// create makes a file of the right size that has no seal yet but EXEC.
func create(name string, size int64, opts []Option) (*File, error) {
	var c config
	for _, opt := range opts {
		opt(&c)
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	pageSize, err := c.pageSize()
	if err != nil {
		return nil, err
	}
	// Whole pages are mapped, so those have to have a length too.
	if size <= 0 || size > math.MaxInt-pageSize {
		return nil, fmt.Errorf("memfd: create %q with %d bytes: %w", name, size, ErrSize)
	}
	if c.huge != 0 {
		size = roundUp(size, pageSize)
	}

	fd, err := memfdCreate(name, c.huge)
	if err != nil {
		return nil, fmt.Errorf("memfd: memfd_create %q: %w", name, err)
	}
	f := &File{name: name, readWrite: true, size: size, pageSize: pageSize, fd: fd}
	if err := ftruncate(fd, size); err != nil {
		f.Close()
		return nil, fmt.Errorf("memfd: ftruncate %q to %d bytes: %w", name, size, err)
	}
	return f, nil
}

func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("memfd: name of %d bytes is longer than %d: %w", len(name), maxName, syscall.EINVAL)
	}
	if strings.ContainsRune(name, 0) {
		return fmt.Errorf("memfd: name %q contains a zero byte: %w", name, syscall.EINVAL)
	}
	return nil
}

func (c config) pageSize() (int64, error) {
	switch c.huge {
	case 0:
		return int64(os.Getpagesize()), nil
	case HugePages2MB, HugePages1GB:
		return int64(c.huge), nil
	}
	return 0, fmt.Errorf("memfd: huge pages of %d bytes: %w", c.huge, ErrSize)
}

// roundUp returns the smallest multiple of unit that is not below n. The
// caller has made sure that there is one.
func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
