package scenario

import (
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/shmloop/shmloop/memfd"
)

// board is memory in which a producer process counts, for the one that measures to
// look at, even after the producer was killed.
type board struct {
	*tally
	mapping *memfd.Mapping
}

// tally is what a producer counts.
type tally struct {
	sent      atomic.Uint64
	doorbells atomic.Uint64
}

const boardSize = 4096

// newBoard returns a board and a file of it for a producer to inherit.
func newBoard() (*board, *os.File, error) {
	f, err := memfd.Create("stress-board", boardSize)
	if err != nil {
		return nil, nil, err
	}
	b, err := mapBoard(f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return b, os.NewFile(uintptr(f.FD()), "board"), nil
}

// openBoard is for the producer. It takes fd.
func openBoard(fd int) (*board, error) {
	f, err := memfd.Open(fd)
	if err != nil {
		return nil, err
	}
	b, err := mapBoard(f)
	return b, errors.Join(err, f.Close())
}

func mapBoard(f *memfd.File) (*board, error) {
	m, err := f.Map(boardSize)
	if err != nil {
		return nil, err
	}
	return &board{tally: (*tally)(unsafe.Pointer(&m.Bytes()[0])), mapping: m}, nil
}

func (b *board) close() error { return b.mapping.Close() }
