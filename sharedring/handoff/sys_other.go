//go:build !linux

package handoff

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// Dial and Listen ask supported first, so nothing below is reached.
func supported() error { return errors.ErrUnsupported }

const controlSpace = 0

func peerOf(syscall.Conn) (Peer, error)                   { return Peer{}, errors.ErrUnsupported }
func credentials(int) (Peer, error)                       { return Peer{}, errors.ErrUnsupported }
func sendMessage(int, []byte, []int) error                { return errors.ErrUnsupported }
func peerPidFD(syscall.Conn, Peer) (int, error)           { return -1, errors.ErrUnsupported }
func recvmsg(int, []byte, []byte) (int, int, bool, error) { return 0, 0, false, errors.ErrUnsupported }
func parseRights([]byte) ([]int, error)                   { return nil, errors.ErrUnsupported }
func sendReply(*net.UnixConn, []byte, []int) error        { return errors.ErrUnsupported }
func sendByte(int, byte) error                            { return errors.ErrUnsupported }
func refuseRights(int)                                    {}
func receiveByte(int) (byte, error)                       { return 0, errors.ErrUnsupported }
func readable(int) bool                                   { return false }
func newEpoll(...int) (*os.File, error)                   { return nil, errors.ErrUnsupported }
func newReserve() (int, error)                            { return -1, errors.ErrUnsupported }
func setSocketMode(syscall.RawConn, uint32) error         { return errors.ErrUnsupported }
func closeDescriptor(int) error                           { return errors.ErrUnsupported }
func noDescriptors(error) bool                            { return false }
