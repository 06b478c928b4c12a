package harness

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// A block is dropped if more of the CPU time than this went to other virtual
// machines. The kernel counts in ticks of 10 ms: a single one says nothing.
const (
	maxStolen   = 0.05
	stolenTicks = 2
)

// cpuTicks are ticks of all CPUs since the machine started.
type cpuTicks struct{ stolen, all uint64 }

// readTicks reads the first line of /proc/stat, proc_stat(5): user nice system
// idle iowait irq softirq steal, and guest times that those contain already.
func readTicks() (cpuTicks, error) {
	const file = "/proc/stat"
	b, err := os.ReadFile(file)
	if err != nil {
		return cpuTicks{}, fmt.Errorf("harness: steal time: %w", err)
	}
	return parseTicks(b)
}

func parseTicks(stat []byte) (cpuTicks, error) {
	const columns, steal = 8, 7
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) <= columns || string(fields[0]) != "cpu" {
		return cpuTicks{}, fmt.Errorf("harness: steal time: unexpected line %q", line)
	}
	var t cpuTicks
	for i, field := range fields[1 : columns+1] {
		n, err := strconv.ParseUint(string(field), 10, 64)
		if err != nil {
			return cpuTicks{}, fmt.Errorf("harness: steal time: %w", err)
		}
		t.all += n
		if i == steal {
			t.stolen = n
		}
	}
	return t, nil
}

func tooMuchStolen(from, to cpuTicks) bool {
	stolen, all := to.stolen-from.stolen, to.all-from.all
	return stolen >= stolenTicks && float64(stolen) > maxStolen*float64(all)
}
