package harness

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
)

// A host is what a reader must know of the machine; not whose it is.
type host struct {
	CPUs       int    `json:"cpus"`
	CPUModel   string `json:"cpu_model"`
	System     string `json:"system"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	GOMAXPROCS int    `json:"gomaxprocs"`
}

func thisHost() host {
	h := host{
		CPUs:       runtime.NumCPU(),
		CPUModel:   "unknown",
		System:     runtime.GOOS + "/" + runtime.GOARCH,
		Go:         runtime.Version(),
		GOMAXPROCS: runtime.GOMAXPROCS(0),
	}
	// Without the files the words above and below stand.
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	h.Kernel = string(bytes.TrimSpace(release))
	cpus, _ := os.ReadFile("/proc/cpuinfo")
	for line := range bytes.Lines(cpus) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		if string(bytes.TrimSpace(key)) == "model name" {
			h.CPUModel = string(bytes.TrimSpace(value))
			break
		}
	}
	return h
}

func (h host) String() string {
	return fmt.Sprintf("%d x %s, %s, kernel %s, %s, GOMAXPROCS %d", h.CPUs, h.CPUModel, h.System, h.Kernel, h.Go, h.GOMAXPROCS)
}
