package memfd

import (
	"fmt"
	"os"
	"strings"
)

// Open takes a descriptor that came from somewhere else, such as an untrusted
// peer, makes sure that it is a memfd that cannot shrink, and adds the SHRINK
// seal where that is missing and allowed. The error is ErrNotMemfd or
// ErrNotSealed if it is not such a file.
//
// Open owns fd from the call on: the File closes it, and after an error it is
// closed, too, if perhaps a little later (see Discard). The descriptor is set
// to be closed on exec.
//
// The order of the checks is part of the safety. On a file of a FUSE server
// that never answers, fstat, fstatfs and close hang, while F_GETFL, readlink
// of /proc/self/fd and F_GET_SEALS are answered by the kernel alone. And a
// size read before the SHRINK seal is there can be truncated away.
func Open(fd int) (*File, error) {
	readWrite, err := isReadWrite(fd)
	if err != nil {
		// Not an open descriptor. Closing the number could hit a
		// descriptor that someone else opens at this moment.
		return nil, fmt.Errorf("memfd: fcntl(F_GETFL) on descriptor %d: %w", fd, err)
	}
	name, err := identify(fd)
	if err != nil {
		Discard(fd) // may hang: nothing is known about this file
		return nil, err
	}
	f := &File{name: name, readWrite: readWrite, fd: fd}
	if err := f.secure(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// identify returns the name of a file that lives in the memory of this kernel,
// without any call that the file's owner could answer.
func identify(fd int) (name string, err error) {
	link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return "", fmt.Errorf("memfd: descriptor %d: %w", fd, err)
	}
	name, ok := strings.CutPrefix(link, "/memfd:")
	if !ok {
		return "", fmt.Errorf("memfd: descriptor %d is %q: %w", fd, link, ErrNotMemfd)
	}
	// The link alone proves nothing: a file named "memfd:x" in the root of a
	// detached mount has it too. Only tmpfs and hugetlbfs know seals.
	if _, err := getSeals(fd); err != nil {
		return "", fmt.Errorf("memfd: fcntl(F_GET_SEALS) on descriptor %d, %q: %w: %w", fd, link, ErrNotMemfd, err)
	}
	return strings.TrimSuffix(name, " (deleted)"), nil
}

// secure makes sure that the file cannot shrink, and only then reads its size.
// A tmpfs file disguised as a memfd fails here: it can never have SHRINK.
func (f *File) secure() error {
	if err := closeOnExec(f.fd); err != nil {
		return fmt.Errorf("memfd: fcntl(F_SETFD) on %q: %w", f.name, err)
	}
	if err := f.AddSeals(SealShrink); err != nil {
		return err
	}
	size, pageSize, err := fileSize(f.fd)
	if err != nil {
		return fmt.Errorf("memfd: size of %q: %w", f.name, err)
	}
	f.size, f.pageSize = size, pageSize
	return nil
}
