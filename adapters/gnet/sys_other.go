//go:build !linux

package gnetring

import (
	"errors"
	"fmt"
	"net"
	"runtime"
)

var errUnsupported = fmt.Errorf("%w on %s", errors.ErrUnsupported, runtime.GOOS)

func supported() error                  { return errUnsupported }
func doorbellKind(fd int) Route         { return 0 }
func connOf(fd int) (net.Conn, error)   { return nil, errUnsupported }
func pair() ([2]int, error)             { return [2]int{}, errUnsupported }
func connPair() (net.Conn, error)       { return nil, errUnsupported }
func disguise(fd int) (net.Conn, error) { return nil, errUnsupported }
func sendByte(fd int) error             { return errUnsupported }
func closeDescriptor(fd int) error      { return errUnsupported }
func refusesRights(fd int) bool         { return false }
func refuseRights(fd int)               {}
