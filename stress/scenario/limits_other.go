//go:build !linux

package scenario

import "errors"

func allowDescriptors(int) (int, error) { return 0, errors.ErrUnsupported }
