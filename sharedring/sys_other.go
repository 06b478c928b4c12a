//go:build !linux

package sharedring

import (
	"errors"
	"fmt"
)

var errUnsupported = fmt.Errorf("sharedring: rings need Linux: %w", errors.ErrUnsupported)

func eventfd() (int, error)                     { return -1, errUnsupported }
func dupDescriptor(int) (int, error)            { return -1, errUnsupported }
func closeDescriptor(int) error                 { return errUnsupported }
func setNonblock(int) error                     { return errUnsupported }
func writeDoorbell(int) error                   { return errUnsupported }
func secureDoorbell(int) error                  { return errUnsupported }
func openSignals() error                        { return errUnsupported }
func signalDoorbell(int) error                  { return errUnsupported }
func socketPair() (rings, waits int, err error) { return -1, -1, errUnsupported }
func closesAtOnce(int) bool                     { return true }
func secureSocket(int) error                    { return errUnsupported }
func socketMaker(int) (uint32, error)           { return 0, errUnsupported }
func sendBell(int) error                        { return errUnsupported }
func sendFarewell(int)                          {}
func drainSocket(int, int) (int, bool, error)   { return 0, false, errUnsupported }
func shutReceive(int) error                     { return errUnsupported }
func closeSocket(int) error                     { return errUnsupported }
