package handoff

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuotaCountsByUID(t *testing.T) {
	q := quota{maxRings: 3, maxBytes: 100, used: make(map[uint32]usage)}
	give, reason := q.take(1, 2, 60)
	require.Equal(t, ReasonNone, reason)

	_, reason = q.take(1, 2, 1)
	require.Equal(t, ReasonRings, reason)
	_, reason = q.take(1, 1, 41)
	require.Equal(t, ReasonBytes, reason)
	_, reason = q.take(1, 1, math.MaxInt64) // a sum would overflow
	require.Equal(t, ReasonBytes, reason)

	giveLast, reason := q.take(1, 1, 40)
	require.Equal(t, ReasonNone, reason)
	giveOther, reason := q.take(2, 3, 100)
	require.Equal(t, ReasonNone, reason, "the quota of another uid")

	give()
	_, reason = q.take(1, 3, 1)
	require.Equal(t, ReasonRings, reason)
	giveLast()
	giveOther()
	require.Empty(t, q.used, "a uid without rings is forgotten")
}
