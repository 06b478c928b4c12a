package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// blockPatience is how long a block may take besides warm-up and measuring.
const blockPatience = 60 * time.Second

// runBlock measures one arm once, in a fresh process, and returns its result.
// The process and all that it started have ended by then.
func runBlock(ctx context.Context, patience time.Duration, scenario, arm string, p Params) (Result, error) {
	params, err := json.Marshal(p)
	if err != nil {
		return Result{}, fmt.Errorf("harness: parameters of the block: %w", err)
	}
	limit := 2*p.Duration + maxWarmUp + patience
	out, err := output(ctx, limit, self(blockCommand, scenario, arm), append(params, '\n'))
	if err != nil {
		return Result{}, err
	}
	r, err := decodeResult(out)
	if err != nil {
		return Result{}, err
	}
	return r, r.complete()
}

// output runs a process of the harness, with its input, and returns what it
// writes to standard output. Beyond the limit it is ended.
func output(ctx context.Context, limit time.Duration, cmd *exec.Cmd, in []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("harness: not done after %v", limit))
	defer cancel()
	said := &tail{}
	cmd.Stderr = said
	p, err := start(ctx, &PeerProcess{name: "its process", cmd: cmd, group: true})
	if err != nil {
		return nil, err
	}
	_, writeErr := p.Stdin.Write(in)
	out, readErr := io.ReadAll(p.Stdout) // until it ends
	err = p.Stop()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err = errors.Join(err, readErr); err == nil {
		err = writeErr // only tells more of a process that did not end well
	}
	if err != nil {
		return nil, said.explain(err)
	}
	return out, nil
}

// complete is an error if r cannot be compared with others.
func (r Result) complete() error {
	if len(r.Metrics) == 0 && r.Latency == nil {
		return errors.New("harness: the block measured nothing")
	}
	for m := range r.Metrics {
		if _, ok := infoOf(m); !ok {
			return fmt.Errorf("harness: unknown metric %q", m)
		}
	}
	return nil
}

// A tail keeps the end of what is written to it.
type tail struct{ text []byte }

const tailBytes = 8 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b...)
	if extra := len(t.text) - tailBytes; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(b), nil
}

// explain adds the text to err, indented.
func (t *tail) explain(err error) error {
	text := strings.TrimSpace(string(t.text))
	if text == "" {
		return err
	}
	return fmt.Errorf("%w\n  %s", err, strings.ReplaceAll(text, "\n", "\n  "))
}
