package scenario

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/ringbuf"
	"github.com/shmloop/shmloop/stress/harness"
)

// attack is one way in which a client breaks the rules.
type attack struct {
	role    role
	name    string
	noticed []error // how the server's connection may end then
	early   bool    // it may be noticed when the server opens the ring
	// strike is called over and over, with pauses of some pause, until the server has
	// ended the connection. done means that there is nothing more to do.
	strike func(v *victim) (done bool, err error)
	pause  time.Duration
}

// They leave the processors to others most of the time: what is looked for is harm by way
// of the server.
var attacks = []attack{
	{
		role: firstHostile, name: "garbage in the count",
		noticed: []error{ringbuf.ErrCorrupt}, early: true, strike: strikeCount, pause: time.Millisecond,
	},
	{
		role: firstHostile + 1, name: "garbage in the messages",
		noticed: []error{errGarbage}, strike: strikeMessages, pause: time.Millisecond,
	},
	{
		role: firstHostile + 2, name: "a storm of doorbells",
		noticed: []error{errStorm}, strike: strikeDoorbell, pause: time.Millisecond,
	},
	{
		// A sender that is told that its peer is gone gives the memory back, which reads
		// as zeros then: the server may see that first.
		role: firstHostile + 3, name: "a lifeline that ends early",
		noticed: []error{sharedring.ErrPeerGone, ringbuf.ErrCorrupt, errGarbage}, strike: strikeLifeline,
	},
}

// victim is a ring in hostile hands.
type victim struct {
	*session
	memory []byte
}

// attackPatience is how long an attack may go unnoticed.
const attackPatience = 5 * time.Second

// hostile attacks over and over, and counts on its board.
func hostile(ctx context.Context, _ harness.Params, args []string) error {
	a, err := parseChaosArgs(args)
	if err != nil {
		return err
	}
	how := attackOf(a.role)
	for ctx.Err() == nil {
		over, err := how.once(ctx, a)
		if err != nil {
			return fmt.Errorf("attack with %s: %w", how.name, err)
		}
		if over {
			a.board.sent.Add(1)
		}
		rest(ctx, 20*time.Millisecond)
	}
	return nil
}

// once connects, sends some messages as it should, and attacks. over means that the
// attack came to its end, and not ctx.
func (h *attack) once(ctx context.Context, a chaosArgs) (over bool, err error) {
	s, err := dialServer(ctx, a.path)
	if err != nil {
		return false, err
	}
	defer s.close()
	m, err := mapRing(s)
	if err != nil {
		return false, err
	}
	defer m.Close()
	if err := s.greet(ctx, a.role); err != nil {
		return false, err
	}
	v := &victim{session: s, memory: m.Bytes()}
	for start := time.Now(); ctx.Err() == nil; rest(ctx, h.pause) {
		done, err := h.strike(v)
		if done || s.ended() {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if time.Since(start) > attackPatience {
			return false, fmt.Errorf("the server has not noticed within %v", attackPatience)
		}
	}
	return false, nil
}

const greetings = 100

// greet sends some messages that are as they should be.
func (s *session) greet(ctx context.Context, r role) error {
	greeting := make([]record, greetings)
	for i := range greeting {
		greeting[i].Sequence = uint64(i)
		greeting[i].Payload[0] = byte(r)
	}
	_, err := s.tx.SendContext(ctx, greeting)
	return err
}

func (s *session) ended() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// mapRing maps the memory of a ring once more, for writing where one should not.
func mapRing(s *session) (*memfd.Mapping, error) {
	d, err := s.ring.Dup()
	if err != nil {
		return nil, err
	}
	f, err := memfd.Open(d.Memory)
	if err != nil {
		return nil, err
	}
	m, err := f.Map(int(f.Size()))
	return m, errors.Join(err, f.Close(), syscall.Close(d.EmptySignal), syscall.Close(d.FullSignal))
}

func strikeCount(v *victim) (bool, error) {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	binary.NativeEndian.PutUint64(v.memory, binary.NativeEndian.Uint64(b[:]))
	return false, v.bell()
}

// strikeMessages writes over all items, and then has the server look at some.
func strikeMessages(v *victim) (bool, error) {
	_, _ = rand.Read(v.memory[ringbuf.HeaderSize:]) // never fails
	garbage := make([]record, 10)
	for i := range garbage {
		_, _ = rand.Read(garbage[i].Payload[:])
		garbage[i].Sequence = binary.NativeEndian.Uint64(garbage[i].Payload[:])
	}
	_, err := v.tx.Send(garbage)
	return false, v.lateError(err)
}

func strikeDoorbell(v *victim) (bool, error) {
	for range 1000 {
		if err := v.bell(); err != nil || v.ended() {
			return false, err
		}
	}
	return false, nil
}

func (v *victim) bell() error { return v.lateError(v.tx.Signal()) }

// lateError leaves out the error that says what ended says too, if a moment later.
func (v *victim) lateError(err error) error {
	if errors.Is(err, sharedring.ErrPeerGone) || errors.Is(err, sharedring.ErrClosed) {
		return nil
	}
	return err
}

// strikeLifeline ends the connection without a farewell, and sends on.
func strikeLifeline(v *victim) (bool, error) {
	if err := syscall.Shutdown(v.conn.FD(), syscall.SHUT_RDWR); err != nil {
		return false, err
	}
	next := []record{{Sequence: greetings}}
	for range 1000 {
		n, err := v.tx.Send(next)
		if err != nil {
			break // it was told of the end, too
		}
		next[0].Sequence += uint64(n)
	}
	return true, nil
}
