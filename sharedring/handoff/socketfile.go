package handoff

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

// socketFile is the file of a listening socket, or nothing for an abstract name.
type socketFile struct {
	path string
	info fs.FileInfo // what bind made, so that only that is removed
}

// bind listens at path, with mode for its file. A file that a dead server left is
// replaced; anything else that is in the way is an error that matches
// syscall.EADDRINUSE.
func bind(path string, mode fs.FileMode) (*net.UnixListener, socketFile, error) {
	if path == "" {
		return nil, socketFile{}, fmt.Errorf("empty path: %w", syscall.EINVAL)
	}
	lc := listenConfig(mode)
	ln, err := lc.Listen(context.Background(), "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && !abstract(path) {
		if err := removeStale(path); err != nil {
			return nil, socketFile{}, err
		}
		ln, err = lc.Listen(context.Background(), "unix", path)
	}
	if err != nil {
		return nil, socketFile{}, err
	}
	unixLn := ln.(*net.UnixListener)
	file, err := claim(unixLn, path, mode)
	if err != nil {
		return nil, socketFile{}, errors.Join(err, unixLn.Close())
	}
	return unixLn, file, nil
}

// listenConfig makes sockets whose file has at most mode from its first moment.
func listenConfig(mode fs.FileMode) net.ListenConfig {
	return net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return setSocketMode(raw, uint32(mode.Perm()))
	}}
}

// claim notes which file bind made and gives it what the umask took from its mode.
func claim(ln *net.UnixListener, path string, mode fs.FileMode) (socketFile, error) {
	if abstract(path) {
		return socketFile{}, nil
	}
	if err := os.Chmod(path, mode); err != nil {
		return socketFile{}, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return socketFile{}, err
	}
	ln.SetUnlinkOnClose(false) // it would unlink whatever has the name by then
	return socketFile{path: path, info: info}, nil
}

func abstract(path string) bool { return strings.HasPrefix(path, "@") }

// removeStale removes the socket at path if nobody listens on it. Two servers that
// find it at the same moment can both think so; the last one to bind then has the
// path.
func removeStale(path string) error {
	before, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // gone meanwhile
	}
	if err != nil {
		return err
	}
	if before.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("the file there is not a socket: %w", syscall.EADDRINUSE)
	}
	probe, err := net.Dial("unix", path)
	if err == nil {
		_ = probe.Close()
		return fmt.Errorf("another server listens there: %w", syscall.EADDRINUSE)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("cannot tell whether a server listens there: %w: %w", err, syscall.EADDRINUSE)
	}
	return socketFile{path: path, info: before}.remove()
}

// remove removes the file unless it is gone or another took its name.
func (f socketFile) remove() error {
	if f.path == "" {
		return nil
	}
	now, err := os.Lstat(f.path)
	if err == nil && os.SameFile(f.info, now) {
		err = os.Remove(f.path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
