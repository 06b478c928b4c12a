package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

// floors are what this machine needs for the simplest steps, measured in the
// same run. One that could not be measured is absent.
type floors map[string]float64

// A floor is one such step. measure returns nanoseconds or bytes per second.
type floor struct {
	key     string // in the JSON
	name    string
	units   []unit
	measure func() (float64, error)
}

var allFloors = []floor{
	{"cache_line_bounce_ns", "cache line to another core and back", times, cacheLineBounce},
	{"getpid_ns", "getpid", times, getpidTime},
	{"eventfd_write_ns", "eventfd write", times, eventfdWriteTime},
	{"wake_busy_ns", "wake on a busy CPU", times, func() (float64, error) { return wakeTime(true) }},
	{"wake_idle_ns", "wake of an idle CPU", times, func() (float64, error) { return wakeTime(false) }},
	{"memmove_256KiB_bytes_per_s", "memmove of 256 KiB", bytesPerSecond, func() (float64, error) { return memmoveRate(256 << 10) }},
	{"memmove_64MiB_bytes_per_s", "memmove of 64 MiB", bytesPerSecond, func() (float64, error) { return memmoveRate(64 << 20) }},
	{"two_core_copy_bytes_per_s", "copy through two cores", bytesPerSecond, twoCoreCopyRate},
}

// floorPatience is how long all of them may take; they need half a second.
const floorPatience = 20 * time.Second

// measureFloors measures them in a process of their own: it changes settings of
// the Go runtime.
func measureFloors(ctx context.Context) (floors, error) {
	out, err := output(ctx, floorPatience, self(floorsCommand), nil)
	if err != nil {
		return nil, fmt.Errorf("harness: floors: %w", err)
	}
	var f floors
	if err := json.Unmarshal(out, &f); err != nil {
		return nil, fmt.Errorf("harness: floors: %w", err)
	}
	return f, nil
}

// floorsMain is the main function of the process that measures the floors. One
// that needs what is missing here (a second CPU, a permission) is left out.
func floorsMain() error {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(exitFailed) // asked to stop
	}()
	// Threads that spin or block in raw system calls keep their Ps, and a
	// garbage collection would wait for them.
	runtime.GOMAXPROCS(8)
	debug.SetGCPercent(-1)
	found := floors{}
	for _, f := range allFloors {
		if v, err := f.measure(); err == nil {
			found[f.key] = v
		}
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// table lists them for people.
func (f floors) table() table {
	t := newTable("floors of this machine", "")
	t.column("", "")
	for _, floor := range allFloors {
		if v, ok := f[floor.key]; ok {
			t.row(floor.name, quantity(floor.units, v))
		}
	}
	return t
}
