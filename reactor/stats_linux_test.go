package reactor

import (
	"bytes"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRegistrationStats(t *testing.T) {
	h := newHarness(t)
	f := h.ring()
	var total atomic.Int64
	r := h.attach(f, takeAll(f, &total))
	h.poll()
	require.Equal(t, RegistrationStats{Services: 1}, r.Stats(), "the first turn needs no edge")
	f.send(1)
	h.poll()
	require.Equal(t, RegistrationStats{Edges: 1, Services: 2}, r.Stats())
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	h := newHarness(t, WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
	h.attach(h.ring(), Handler{Ready: func(Event) error { return errors.New("bad peer") }})
	h.attach(h.ring(), Handler{Ready: func(Event) error { panic("in Ready") }})
	require.NoError(t, h.Post(func() { panic("in a post") }))
	h.attach(h.ring(), nothing(t))
	h.poll()
	require.NoError(t, h.Close())
	for _, want := range []string{"bad peer", "in Ready", "in a post", "stack="} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), "closed", "the owner's own doing is not worth a line")
}
