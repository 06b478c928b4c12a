//go:build !linux

package scenario

import "errors"

func serveByDirect([]ring, func(int, []record)) (*service, error) { return nil, errors.ErrUnsupported }
func serveByNested([]ring, func(int, []record)) (*service, error) { return nil, errors.ErrUnsupported }
