package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The hidden first arguments of the processes that the harness starts.
const (
	blockCommand  = "block"  // SCENARIO ARM, Params as a line on standard input
	peerCommand   = "peer"   // NAME PARAMS ARGUMENT...
	floorsCommand = "floors" // nothing
)

// errAsked is why a context ends when standard input does.
var errAsked = errors.New("harness: asked to stop")

type failKey struct{}

// failBlock ends the context of the block that ctx belongs to.
func failBlock(ctx context.Context, err error) {
	if fail, ok := ctx.Value(failKey{}).(context.CancelCauseFunc); ok {
		fail(err)
	}
}

// untilAsked returns a context that ends when in does. The process has stopGrace
// to end after that or after any other end of the context.
func untilAsked(in io.Reader) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel(errAsked)
	}()
	context.AfterFunc(ctx, func() {
		time.Sleep(stopGrace)
		fmt.Fprintf(os.Stderr, "%v; still running %v later\n", context.Cause(ctx), stopGrace)
		os.Exit(1)
	})
	return ctx, cancel
}

// peerMain is the main function of a peer process.
func peerMain(peers map[string]Peer, args []string) error {
	if len(args) < 2 {
		return errors.New("harness: a peer needs a name and parameters")
	}
	name := args[0]
	peer, ok := peers[name]
	if !ok {
		return fmt.Errorf("harness: no peer %q", name)
	}
	var p Params
	if err := json.Unmarshal([]byte(args[1]), &p); err != nil {
		return fmt.Errorf("harness: parameters of peer %q: %w", name, err)
	}
	ctx, _ := untilAsked(os.Stdin)
	if err := peer(ctx, p, args[2:]); err != nil && ctx.Err() == nil {
		return fmt.Errorf("peer %q: %w", name, err)
	}
	return nil
}

// blockMain is the main function of a block process.
func blockMain(scenarios []Scenario, args []string) error {
	if len(args) != 2 {
		return errors.New("harness: a block needs a scenario and an arm")
	}
	arm, err := findArm(scenarios, args[0], args[1])
	if err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("harness: parameters of the block: %w", err)
	}
	var p Params
	if err := json.Unmarshal(line, &p); err != nil {
		return fmt.Errorf("harness: parameters of the block: %w", err)
	}
	// The result alone goes to standard output.
	out := os.Stdout
	os.Stdout = os.Stderr

	ctx, fail := untilAsked(in)
	r, err := arm.Block(context.WithValue(ctx, failKey{}, fail), p)
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(err, context.Canceled) {
			return cause // which err only repeats
		}
		return errors.Join(cause, err)
	}
	if err != nil {
		return err
	}
	b, err := encodeResult(r)
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}

func findArm(scenarios []Scenario, scenario, arm string) (Arm, error) {
	for _, s := range scenarios {
		for _, a := range s.Arms {
			if s.Name == scenario && a.Name == arm {
				return a, nil
			}
		}
	}
	return Arm{}, fmt.Errorf("harness: no arm %q of scenario %q", arm, scenario)
}

// A wireResult is a Result between two processes.
type wireResult struct {
	Metrics    map[Metric]float64 `json:"metrics"`
	Latency    []byte             `json:"latency,omitempty"`
	Lost       uint64             `json:"lost"`
	Duplicated uint64             `json:"duplicated"`
	Reordered  uint64             `json:"reordered"`
	Notes      []string           `json:"notes,omitempty"`
}

func encodeResult(r Result) ([]byte, error) {
	w := wireResult{Metrics: r.Metrics, Lost: r.Lost, Duplicated: r.Duplicated, Reordered: r.Reordered, Notes: r.Notes}
	if r.Latency != nil {
		b, err := r.Latency.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			return nil, fmt.Errorf("harness: encode latencies: %w", err)
		}
		w.Latency = b
	}
	b, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("harness: encode result: %w", err)
	}
	return b, nil
}

func decodeResult(b []byte) (Result, error) {
	var w wireResult
	if err := json.Unmarshal(b, &w); err != nil {
		return Result{}, fmt.Errorf("harness: decode result: %w", err)
	}
	r := Result{Metrics: w.Metrics, Lost: w.Lost, Duplicated: w.Duplicated, Reordered: w.Reordered, Notes: w.Notes}
	if len(w.Latency) > 0 {
		h, err := hdrhistogram.Decode(w.Latency)
		if err != nil {
			return Result{}, fmt.Errorf("harness: decode latencies: %w", err)
		}
		r.Latency = h
	}
	return r, nil
}
