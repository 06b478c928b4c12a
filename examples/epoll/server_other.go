//go:build !linux

package main

import (
	"context"
	"errors"
)

// server needs epoll.
type server struct{ bySocket, byRing int }

func newServer(path string) (*server, error)      { return nil, errors.ErrUnsupported }
func (s *server) serve(ctx context.Context) error { return errors.ErrUnsupported }
