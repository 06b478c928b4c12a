package harness

import (
	"fmt"
	"math"
	"strconv"
)

// A unit is what a number is shown in.
type unit struct {
	name string
	size float64
}

var (
	ratePerSecond  = []unit{{"/s", 1}, {"k/s", 1e3}, {"M/s", 1e6}}
	bytesPerSecond = []unit{{"B/s", 1}, {"KiB/s", 1 << 10}, {"MiB/s", 1 << 20}, {"GiB/s", 1 << 30}}
	bytesPerRing   = []unit{{"B/ring", 1}, {"KiB/ring", 1 << 10}, {"MiB/ring", 1 << 20}}
	times          = []unit{{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}}
	timePerMessage = []unit{{"ns/msg", 1}, {"us/msg", 1e3}, {"ms/msg", 1e6}}
	perMessage     = []unit{{"/msg", 1}}
	byteCounts     = []unit{{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}}
)

// unitFor returns the largest unit that value has at least one of.
func unitFor(units []unit, value float64) unit {
	best := units[0]
	for _, u := range units[1:] {
		if value >= u.size {
			best = u
		}
	}
	return best
}

// quantity shows one number in a unit of its own: "1.25 us".
func quantity(units []unit, value float64) string {
	u := unitFor(units, value)
	return digits(value/u.size) + " " + u.name
}

// digits shows three significant digits, and no more than five decimals.
func digits(v float64) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	decimals := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	return strconv.FormatFloat(v, 'f', min(max(decimals, 0), 5), 64)
}

// byteSize shows a message size: "64 B", "1 MiB", and bytes where no unit fits.
func byteSize(n int) string {
	for i := len(byteCounts) - 1; i > 0; i-- {
		if u := byteCounts[i]; n >= int(u.size) && n%int(u.size) == 0 {
			return fmt.Sprintf("%d %s", n/int(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
