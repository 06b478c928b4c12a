//go:build !linux

package proctest

import (
	"errors"
	"fmt"
	"os/exec"
)

func dieWithParent(*exec.Cmd) {}

func injectErrno([]Fault) error {
	return fmt.Errorf("proctest: inject errno: %w", errors.ErrUnsupported)
}
