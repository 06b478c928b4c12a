package harness

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDigits(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1.00", 12.345: "12.3", 99.96: "100.0", 123.4: "123", 98765: "98765",
		0.5: "0.500", 0.0123: "0.0123", 0.00123: "0.00123", 0.0000123: "0.00001", -2.5: "-2.50",
	} {
		require.Equal(t, want, digits(v))
	}
	require.Equal(t, "NaN", digits(math.NaN()))
	require.Equal(t, "+Inf", digits(math.Inf(1)))
}

func TestQuantity(t *testing.T) {
	for want, q := range map[string]struct {
		units []unit
		value float64
	}{
		"999 ns":     {times, 999},
		"1.00 us":    {times, 1000},
		"2.50 s":     {times, 2.5e9},
		"0.500 ns":   {times, 0.5},
		"3.40 M/s":   {ratePerSecond, 3.4e6},
		"0 /s":       {ratePerSecond, 0},
		"1.50 GiB/s": {bytesPerSecond, 1.5 * (1 << 30)},
	} {
		require.Equal(t, want, quantity(q.units, q.value))
	}
}

func TestByteSizeCanBeReadBack(t *testing.T) {
	for n, want := range map[int]string{8: "8 B", 1000: "1000 B", 1024: "1 KiB", 1536: "1536 B", 64 << 10: "64 KiB", 16 << 20: "16 MiB", 1 << 30: "1 GiB"} {
		require.Equal(t, want, byteSize(n))
		back, err := parseSize(want)
		require.NoError(t, err)
		require.Equal(t, n, back)
	}
}
