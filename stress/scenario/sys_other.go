//go:build !linux

package scenario

import (
	"errors"
	"os"
)

func rawRead(int, []byte) (int, error) { return 0, errors.ErrUnsupported }

func rawWrite(int, []byte) (int, error) { return 0, errors.ErrUnsupported }

func newEdge(int) (int, error) { return -1, errors.ErrUnsupported }

func awaitEdge(int) error { return errors.ErrUnsupported }

func socketPair(bool) (near, far int, err error) { return -1, -1, errors.ErrUnsupported }

func growSendBuffer(fd, size int) error { return errors.ErrUnsupported }

func newPipe(int) (r, w int, err error) { return -1, -1, errors.ErrUnsupported }

func blockingDup(*os.File) (int, error) { return -1, errors.ErrUnsupported }

func closeFD(int) error { return errors.ErrUnsupported }

func allowedCPUs() ([]int, error) { return nil, errors.ErrUnsupported }

func pin(int) error { return errors.ErrUnsupported }
