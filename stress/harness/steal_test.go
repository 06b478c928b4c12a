package harness

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseTicks(t *testing.T) {
	ticks, err := parseTicks([]byte("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n"))
	require.NoError(t, err)
	require.Equal(t, cpuTicks{stolen: 8, all: 36}, ticks, "guest time is in user and nice already")
	for _, bad := range []string{"", "cpu", "cpu0 1 2 3 4 5 6 7 8 9 10", "cpu 1 2 3 4 5 6 7", "cpu 1 2 3 4 5 6 7 x"} {
		_, err := parseTicks([]byte(bad))
		require.Error(t, err, "%q", bad)
	}
}

func TestTooMuchStolen(t *testing.T) {
	for _, test := range []struct {
		stolen, all uint64
		want        bool
	}{
		{0, 0, false}, {0, 100, false}, {5, 100, false}, {6, 100, true},
		{1, 2, false}, // one tick says nothing
		{2, 20, true},
	} {
		from := cpuTicks{stolen: 1000, all: 50000}
		require.Equal(t, test.want, tooMuchStolen(from, cpuTicks{from.stolen + test.stolen, from.all + test.all}), "%+v", test)
	}
}
