package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// result is what -json writes. Times are in nanoseconds.
type result struct {
	Producers       int     `json:"producers"`
	Rings           int     `json:"rings"`
	Size            int     `json:"size"`
	Seconds         float64 `json:"seconds"`
	Messages        uint64  `json:"messages"`
	MessagesPerS    float64 `json:"msgs_per_s"`
	BytesPerS       float64 `json:"bytes_per_s"`
	Lost            uint64  `json:"lost"`
	Duplicated      uint64  `json:"duplicated"`
	Reordered       uint64  `json:"reordered"`
	Crashed         int     `json:"crashed"`
	P50             int64   `json:"p50_ns"`
	P99             int64   `json:"p99_ns"`
	DoorbellsPerMsg float64 `json:"doorbells_per_msg"`
}

func (t *tally) result(set settings, elapsed time.Duration) result {
	r := result{
		Producers: set.producers, Rings: t.rings, Size: set.size, Seconds: elapsed.Seconds(),
		Messages: t.messages.Load(), Lost: t.lost, Duplicated: t.duplicated,
		Reordered: t.reordered, Crashed: t.crashed,
		P50: t.latencies.ValueAtQuantile(50), P99: t.latencies.ValueAtQuantile(99),
	}
	r.MessagesPerS = float64(r.Messages) / r.Seconds
	r.BytesPerS = float64(t.bytes.Load()) / r.Seconds
	if r.Messages > 0 {
		r.DoorbellsPerMsg = float64(t.doorbells) / float64(r.Messages)
	}
	return r
}

// report prints the table and the JSON, and fails if the rings did.
func (t *tally) report(set settings, elapsed time.Duration) error {
	r := t.result(set, elapsed)
	table := io.Writer(os.Stdout)
	if set.json == "-" {
		table = os.Stderr // standard output is for the JSON alone
	}
	if err := r.print(table); err != nil {
		return err
	}
	if err := r.write(set.json); err != nil {
		return err
	}
	if r.Lost+r.Duplicated+r.Reordered > 0 {
		return fmt.Errorf("%d records lost, %d duplicated, %d reordered", r.Lost, r.Duplicated, r.Reordered)
	}
	return nil
}

func (r result) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"rings", fmt.Sprint(r.Rings)},
		{"messages", fmt.Sprint(r.Messages)},
		{"lost/duplicated/reordered", fmt.Sprintf("%d/%d/%d", r.Lost, r.Duplicated, r.Reordered)},
		{"messages/s", fmt.Sprintf("%.0f", r.MessagesPerS)},
		{"MB/s", fmt.Sprintf("%.1f", r.BytesPerS/1e6)},
		{"latency p50", time.Duration(r.P50).String()},
		{"latency p99", time.Duration(r.P99).String()},
		{"doorbells/message", fmt.Sprintf("%.5f", r.DoorbellsPerMsg)},
	} {
		fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
	}
	return t.Flush()
}

func (r result) write(file string) error {
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if file == "-" {
		_, err = os.Stdout.Write(b)
		return err
	}
	return os.WriteFile(file, b, 0o666)
}

// live prints the rate of the last interval, over and over: in place on a
// terminal, line by line elsewhere. The returned function ends it.
func live(f *os.File, sum *tally, start time.Time) (stop func()) {
	interval, before, after := time.Second, "", "\n"
	if term.IsTerminal(int(f.Fd())) {
		interval, before, after = 200*time.Millisecond, "\r\x1b[K", ""
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		var messages, bytes uint64
		for last := start; ; {
			select {
			case <-done:
				fmt.Fprint(f, before)
				return
			case t := <-tick.C:
				m, b, seconds := sum.messages.Load(), sum.bytes.Load(), t.Sub(last).Seconds()
				fmt.Fprintf(f, "%s%5.1f s  %11.0f messages/s  %8.1f MB/s%s", before, t.Sub(start).Seconds(),
					float64(m-messages)/seconds, float64(b-bytes)/seconds/1e6, after)
				messages, bytes, last = m, b, t
			}
		}
	}()
	return func() { close(done); <-ended }
}
