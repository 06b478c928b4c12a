package chart

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Run is the JSON that one run of a scenario prints; only what is drawn is named here.
type Run struct {
	Scenario string `json:"scenario"`
	Params   Params `json:"params"`
	Host     Host   `json:"host"`
	Arms     []Arm  `json:"arms"`
}

// Params is what a run was asked for. 0 in Rate is flat out.
type Params struct {
	Size      int `json:"size"`
	Rings     int `json:"rings"`
	Producers int `json:"producers"`
	Rate      int `json:"rate"`
}

// Host is the machine of a run.
type Host struct {
	CPUs   int    `json:"cpus"`
	Model  string `json:"cpu_model"`
	System string `json:"system"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Arm is what was measured of one arm at one size. 0 stands for not measured.
type Arm struct {
	Name              string       `json:"name"`
	Size              int          `json:"size"` // bytes of a message
	MessagesPerSecond float64      `json:"msgs_per_s"`
	BytesPerSecond    float64      `json:"bytes_per_s"`
	NsPerMessage      float64      `json:"ns_per_msg"`
	ConsumerCPU       float64      `json:"consumer_cpu_ns_per_msg"`
	P50               float64      `json:"p50_ns"`
	P99               float64      `json:"p99_ns"`
	P999              float64      `json:"p999_ns"`
	Latency           [][2]float64 `json:"latency"` // percentile and nanoseconds
}

// time is the nanoseconds that a message took, 0 if that was not measured.
func (a Arm) time() float64 {
	if a.NsPerMessage > 0 || a.MessagesPerSecond <= 0 {
		return a.NsPerMessage
	}
	return 1e9 / a.MessagesPerSecond
}

// distribution is percentiles and their nanoseconds, as fine as the run tells it.
func (a Arm) distribution() [][2]float64 {
	if len(a.Latency) > 0 {
		return a.Latency
	}
	return [][2]float64{{50, a.P50}, {99, a.P99}, {99.9, a.P999}}
}

// Read reads one run, or several that follow each other.
func Read(r io.Reader) ([]Run, error) {
	var runs []Run
	for d := json.NewDecoder(r); ; {
		var run Run
		switch err := d.Decode(&run); {
		case errors.Is(err, io.EOF):
			return runs, nil
		case err != nil:
			return nil, fmt.Errorf("chart: %w", err)
		case run.Scenario == "":
			return nil, errors.New("chart: an object without a scenario: not the JSON of a run")
		}
		runs = append(runs, run)
	}
}

// ReadFiles reads the runs in the files.
func ReadFiles(paths []string) ([]Run, error) {
	var all []Run
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("chart: %w", err)
		}
		runs, err := Read(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, runs...)
	}
	return all, nil
}
