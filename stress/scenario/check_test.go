package scenario

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/stress/harness"
)

// window returns one that is over soon.
func window(t *testing.T) *harness.Window {
	w := harness.NewWindow(harness.Params{Duration: time.Millisecond})
	w.Start(t.Context())
	t.Cleanup(func() { <-w.Done() })
	return w
}

// messages returns messages of size bytes with these numbers.
func messages(size int, numbers ...uint64) []byte {
	var b []byte
	for _, n := range numbers {
		m := message(size)
		binary.NativeEndian.PutUint64(m, n)
		b = append(b, m...)
	}
	return b
}

// However a stream is cut, drain sees each message once.
func TestDrain(t *testing.T) {
	for name, cut := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r },
		"byte":  iotest.OneByteReader,
		"half":  iotest.HalfReader,
		"end":   iotest.DataErrReader,
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{minSize, 100, StreamBatch - 1, StreamBatch + 1} {
				numbers := make([]uint64, 2*StreamBatch/size+3)
				for i := range numbers {
					numbers[i] = uint64(i)
				}
				var check harness.Check
				require.NoError(t, drain(cut(bytes.NewReader(messages(size, numbers...))), size, window(t), &check))
				require.Equal(t, harness.Check{}, without(check))
				check.Sent(uint64(len(numbers)))
				require.Zero(t, check.Lost)
			}
		})
	}
}

// without returns the sums of a check.
func without(c harness.Check) harness.Check {
	return harness.Check{Lost: c.Lost, Duplicated: c.Duplicated, Reordered: c.Reordered}
}

func TestDrainNotices(t *testing.T) {
	var check harness.Check
	b := messages(64, 0, 2, 2, 1)
	require.NoError(t, drain(bytes.NewReader(b), 64, window(t), &check))
	require.Equal(t, harness.Check{Duplicated: 1, Reordered: 1}, without(check))

	check = harness.Check{}
	require.NoError(t, drain(bytes.NewReader(messages(64, 0, 1, 5)), 64, window(t), &check))
	require.Equal(t, uint64(3), check.Lost)
	check.Sent(7)
	require.Equal(t, uint64(4), check.Lost)

	require.ErrorIs(t, drain(iotest.ErrReader(io.ErrClosedPipe), 64, window(t), &check), io.ErrClosedPipe)
}

// forgetful is an echo that drops every tenth message.
type forgetful struct{ passed int }

func (f *forgetful) pass(dst, src []byte) error {
	if f.passed++; f.passed%10 != 0 {
		copy(dst, src)
	}
	return nil
}

func (f *forgetful) close() error { return nil }

func TestEchoNotices(t *testing.T) {
	var check harness.Check
	require.NoError(t, runEcho(&forgetful{}, 64, window(t), &check))
	require.Positive(t, check.Duplicated)
	require.Positive(t, check.Lost)
}

// mirror sends back what it gets, but not always.
type mirror struct {
	bytes.Buffer
	writes int
}

func (m *mirror) Write(p []byte) (int, error) {
	if m.writes++; m.writes%10 == 0 {
		p = messages(len(p), 7)
	}
	return m.Buffer.Write(p)
}

func TestPingNotices(t *testing.T) {
	var check harness.Check
	m := &mirror{}
	require.NoError(t, ping(&end{Reader: m, Writer: m}, 64, window(t), &check))
	require.Positive(t, check.Lost)
}
