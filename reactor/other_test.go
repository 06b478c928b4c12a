//go:build !linux

package reactor

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewLoopIsUnsupported(t *testing.T) {
	_, err := NewLoop()
	require.ErrorIs(t, err, errors.ErrUnsupported)
}
