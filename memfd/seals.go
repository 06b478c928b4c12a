package memfd

import (
	"fmt"
	"strings"
)

// Seals is a set of file seals. A seal can be added, never removed, and holds
// for every holder of the memory. The values are those of fcntl(2).
type Seals uint32

const (
	SealSeal        Seals = 1 << iota // no more seals
	SealShrink                        // the size cannot decrease
	SealGrow                          // the size cannot increase
	SealWrite                         // the contents cannot change
	SealFutureWrite                   // no new way to change the contents; mappings that exist still can
	SealExec                          // the execute bits of the mode cannot change
)

var sealNames = []string{"SEAL", "SHRINK", "GROW", "WRITE", "FUTURE_WRITE", "EXEC"}

// Has reports whether s includes all of want.
func (s Seals) Has(want Seals) bool { return s&want == want }

// String names the seals as fcntl(2) does, without F_SEAL_: "SHRINK|GROW".
// It is "none" for no seal.
func (s Seals) String() string {
	if s == 0 {
		return "none"
	}
	var names []string
	for i, name := range sealNames {
		if bit := Seals(1) << i; s.Has(bit) {
			names = append(names, name)
			s &^= bit
		}
	}
	if s != 0 {
		names = append(names, fmt.Sprintf("%#x", uint32(s)))
	}
	return strings.Join(names, "|")
}

// Seals returns the seals that the file has now.
func (f *File) Seals() (Seals, error) {
	var seals Seals
	err := f.use(func(fd int) (err error) {
		seals, err = getSeals(fd)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("memfd: fcntl(F_GET_SEALS) on %q: %w", f.name, err)
	}
	return seals, nil
}

// AddSeals adds the seals that the file does not have yet. Where it cannot,
// the error is ErrNotSealed: EPERM means that SEAL forbids it or that the
// descriptor is read-only, EBUSY that someone has the memory mapped writable
// and so WRITE cannot hold.
func (f *File) AddSeals(seals Seals) error {
	have, err := f.Seals()
	if err != nil {
		return err
	}
	missing := seals &^ have
	if missing == 0 {
		return nil
	}
	if err := f.use(func(fd int) error { return addSeals(fd, missing) }); err != nil {
		return fmt.Errorf("memfd: fcntl(F_ADD_SEALS, %v) on %q, which has %v: %w: %w", missing, f.name, have, ErrNotSealed, err)
	}
	return nil
}
