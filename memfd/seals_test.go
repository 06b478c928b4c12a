package memfd_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd"
)

func TestSealsString(t *testing.T) {
	for seals, want := range map[memfd.Seals]string{
		0:                               "none",
		memfd.SealShrink:                "SHRINK",
		memfd.SealSeal | memfd.SealExec: "SEAL|EXEC",
		0x3f:                            "SEAL|SHRINK|GROW|WRITE|FUTURE_WRITE|EXEC",
		0x140 | memfd.SealWrite:         "WRITE|0x140",
		memfd.SealGrow | memfd.SealSeal: "SEAL|GROW",
	} {
		require.Equal(t, want, seals.String())
	}
}

func TestSealsHas(t *testing.T) {
	seals := memfd.SealShrink | memfd.SealGrow
	require.True(t, seals.Has(memfd.SealShrink))
	require.True(t, seals.Has(seals))
	require.True(t, seals.Has(0))
	require.False(t, seals.Has(memfd.SealShrink|memfd.SealWrite), "all are wanted")
}
