package memfd

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of this package. They return the bare errno: the caller
// knows what it was about.

// memfdCreate makes an empty file that is closed on exec, may be sealed and,
// where the kernel can, never executed.
func memfdCreate(name string, huge HugePageSize) (fd int, err error) {
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	switch huge {
	case HugePages2MB:
		flags |= unix.MFD_HUGETLB | unix.MFD_HUGE_2MB
	case HugePages1GB:
		flags |= unix.MFD_HUGETLB | unix.MFD_HUGE_1GB
	}
	create := func(flags int) error {
		return retry(func() error {
			fd, err = unix.MemfdCreate(name, flags)
			return err
		})
	}
	// With vm.memfd_noexec=2 the kernel refuses a file that could be
	// executed; before 6.3 it does not know the flag.
	err = create(flags | unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		err = create(flags)
	}
	return fd, err
}

func ftruncate(fd int, size int64) error {
	return retry(func() error { return unix.Ftruncate(fd, size) })
}

// closeFD does not retry: the descriptor is gone also after EINTR, close(2).
func closeFD(fd int) error { return unix.Close(fd) }

// isReadWrite fails only if fd is not open.
func isReadWrite(fd int) (bool, error) {
	flags, err := fcntl(fd, unix.F_GETFL, 0)
	return flags&unix.O_ACCMODE == unix.O_RDWR, err
}

func closeOnExec(fd int) error {
	_, err := fcntl(fd, unix.F_SETFD, unix.FD_CLOEXEC)
	return err
}

func getSeals(fd int) (Seals, error) {
	seals, err := fcntl(fd, unix.F_GET_SEALS, 0)
	return Seals(seals), err
}

func addSeals(fd int, seals Seals) error {
	_, err := fcntl(fd, unix.F_ADD_SEALS, int(seals))
	return err
}

func fcntl(fd, cmd, arg int) (n int, err error) {
	err = retry(func() error {
		n, err = unix.FcntlInt(uintptr(fd), cmd, arg)
		return err
	})
	return n, err
}

// fileSize returns the bytes of the file and of one of its pages. On a file
// that is not known to be in memory it can hang.
func fileSize(fd int) (size, pageSize int64, err error) {
	var stat unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &stat) }); err != nil {
		return 0, 0, os.NewSyscallError("fstat", err)
	}
	var fs unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fd, &fs) }); err != nil {
		return 0, 0, os.NewSyscallError("fstatfs", err)
	}
	if uint32(fs.Type) == unix.HUGETLBFS_MAGIC {
		return stat.Size, int64(fs.Bsize), nil
	}
	// Not Bsize or Blksize: with transparent huge pages these may be larger.
	return stat.Size, int64(os.Getpagesize()), nil
}

// mapFile maps length bytes, whole pages, of the file.
func mapFile(fd, length int, writable bool) ([]byte, error) {
	prot, flags := unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED
	if !writable {
		// Private, because kernels before 6.7 refuse a shared mapping of
		// a file with the WRITE seal; nothing can change it anyway.
		prot, flags = unix.PROT_READ, unix.MAP_PRIVATE
	}
	return mmap(fd, nil, length, prot, flags)
}

// replaceByZeroes puts private zero pages in the place of a mapping, in one
// step: no other thread ever finds these addresses unmapped, mmap(2).
func replaceByZeroes(pages []byte, writable bool) error {
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	_, err := mmap(-1, unsafe.Pointer(unsafe.SliceData(pages)), len(pages), prot,
		unix.MAP_FIXED|unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	return err
}

func mmap(fd int, at unsafe.Pointer, length, prot, flags int) ([]byte, error) {
	var addr unsafe.Pointer
	err := retry(func() (err error) {
		addr, err = unix.MmapPtr(fd, 0, at, uintptr(length), prot, flags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(addr), length), nil
}

func unmap(pages []byte) error {
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(pages)), uintptr(len(pages)))
}

func lock(pages []byte) error {
	return retry(func() error { return unix.Mlock(pages) })
}

func free(pages []byte) error {
	return retry(func() error { return unix.Madvise(pages, unix.MADV_REMOVE) })
}

// populate is EINVAL on kernels before 5.14.
func populate(pages []byte, writable bool) error {
	advice := unix.MADV_POPULATE_READ
	if writable {
		advice = unix.MADV_POPULATE_WRITE
	}
	return retry(func() error { return unix.Madvise(pages, advice) })
}
