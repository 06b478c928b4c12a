//go:build !linux

package server

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestServeIsUnsupported(t *testing.T) {
	s, err := New(Handler[byte]{Ready: func(*Conn[byte]) error { return nil }}, Config{})
	require.NoError(t, err)
	require.ErrorIs(t, s.Serve(context.Background(), "@server-test"), errors.ErrUnsupported)
}
