//go:build !linux

package harness

import (
	"errors"
	"os/exec"
	"time"
)

const selfExe = ""

func dieWithParent(*exec.Cmd, bool) {}
func awaitEnd(int)                  {}
func killGroup(int)                 {}
func cpuOf(int) time.Duration       { return 0 }
func contextSwitches() uint64       { return 0 }

func getpid()                     {}
func newEventfd() (int, error)    { return -1, errors.ErrUnsupported }
func closeEventfd(int)            {}
func writeEventfd(int)            {}
func readEventfd(int)             {}
func allowedCPUs() ([]int, error) { return nil, errors.ErrUnsupported }
func setUpThread(int, bool) error { return errors.ErrUnsupported }
