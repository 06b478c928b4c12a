package harness

import (
	"context"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Params are what one block runs with.
type Params struct {
	Size      int           `json:"size"`                // bytes of a message
	Rings     int           `json:"rings,omitempty"`     // rings, connections or clients
	Producers int           `json:"producers,omitempty"` // processes they are spread over
	Rate      int           `json:"rate,omitempty"`      // messages a second in all; 0: flat out
	Duration  time.Duration `json:"duration_ns"`         // of the measured part of a block
}

// A Scenario is one experiment: arms that do the same work in different ways.
type Scenario struct {
	Name  string
	About string // a paragraph for -h: what runs, what is measured, what a message goes through
	Sizes []int  // bytes of a message, run one after the other unless -size is given

	// Defaults are the values of the flags. Duration is the measured time of
	// each arm at each size, all blocks together. A flag -rings or -producers
	// exists where its default is not 0.
	Defaults Params

	// Quick replaces, with -quick, those of the Defaults that it sets. A Size
	// replaces all of Sizes.
	Quick Params

	// Paced says that the arms keep to Params.Rate: there is a flag -rate.
	Paced bool

	// Rounds is how many blocks each arm has at each size. 0 means 4 to 10, of at
	// least 50 ms if it can be, and 4 with -quick.
	Rounds int

	Arms []Arm

	// Columns are the metrics of the table, from left to right, and Headline
	// those whose ratios are printed. Nil means a choice by the harness. The
	// JSON always has all.
	Columns, Headline []Metric
}

// An Arm is one way to do the work of a scenario.
type Arm struct {
	Name  string
	About string // one line for -h
	Ours  bool   // an arm of this library: its ratios against all others are printed

	// Block measures once, in a process of its own: it starts the producer
	// processes, warms up, measures for p.Duration, checks all sequence numbers
	// and ends what it started. What it writes to standard error is shown only
	// if it fails.
	Block func(ctx context.Context, p Params) (Result, error)

	// Skip returns why this arm sits p out, or "". Nil means never.
	Skip func(p Params) string
}

// A Peer is the main function of a producer process. Files given to StartPeer
// are descriptors 3, 4, ... and belong to the peer; what it writes to standard
// output the starter reads. The context ends when the starter asks the process
// to stop or is gone; an error after that is not reported.
type Peer func(ctx context.Context, p Params, args []string) error

// A Result is what one block measured.
type Result struct {
	Metrics map[Metric]float64

	// Latency holds nanoseconds, made by NewHistogram; nil where none was
	// measured. P50, P99 and P999 come from it.
	Latency *hdrhistogram.Histogram

	Lost, Duplicated, Reordered uint64 // in all of the block, the warm-up too

	// Notes are sentences for the reader of the table and of the JSON: nothing
	// that names the machine or a path. Those of all blocks are printed, each once.
	Notes []string
}
