//go:build !linux

package memfd_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd"
)

func TestUnsupported(t *testing.T) {
	_, err := memfd.Create("test", 4096)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = memfd.Open(0)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}
