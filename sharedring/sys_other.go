//go:build !linux

package sharedring

import (
	"errors"
	"fmt"
)

var errUnsupported = fmt.Errorf("sharedring: rings need Linux: %w", errors.ErrUnsupported)

func eventfd() (int, error)          { return -1, errUnsupported }
func dupDescriptor(int) (int, error) { return -1, errUnsupported }
func closeDescriptor(int) error      { return errUnsupported }
func setNonblock(int) error          { return errUnsupported }
func writeDoorbell(int) error        { return errUnsupported }
func secureDoorbell(int) error       { return errUnsupported }
func openSignals() error             { return errUnsupported }
func signalDoorbell(int) error       { return errUnsupported }
