package reactor

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEventNames(t *testing.T) {
	for ev, want := range map[Event]string{
		0:                                        "",
		eventReadable:                            "readable",
		eventReadable | eventHangUp | eventError: "readable|hang-up|error",
		eventWritable:                            "writable",
	} {
		require.Equal(t, want, ev.String())
	}
}

func TestInterestCheck(t *testing.T) {
	for _, i := range []Interest{Readable, Writable, Readable | Writable, Readable | EdgeTriggered} {
		require.NoError(t, i.check())
	}
	for _, i := range []Interest{0, EdgeTriggered, Readable | 1<<7, ^Interest(0)} {
		require.ErrorIs(t, i.check(), ErrInvalid)
	}
}
