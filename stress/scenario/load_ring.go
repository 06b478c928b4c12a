package scenario

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/stress/harness"
)

// ringPeer is the name of the producers with rings.
const ringPeer = "fan-rings"

// ringCapacity is that of each ring: 16 KiB.
const ringCapacity = 255

// ringOutlet is a ring, as its producer sees it.
type ringOutlet struct {
	tx    *sharedring.Sender[record]
	board *board
	rung  uint64 // doorbells that the board knows of
	one   [1]record
}

func (o *ringOutlet) offer(r *record) (bool, error) {
	o.one[0] = *r
	n, err := o.tx.Send(o.one[:])
	o.note()
	return n == 1, err
}

func (o *ringOutlet) force(ctx context.Context, r *record) error {
	o.one[0] = *r
	_, err := o.tx.SendContext(ctx, o.one[:])
	o.note()
	return err
}

func (o *ringOutlet) note() {
	if n := o.tx.Doorbells(); n != o.rung {
		o.board.doorbells.Add(n - o.rung)
		o.rung = n
	}
}

func (o *ringOutlet) flush(context.Context) error { return nil }

// ringProducer is a producer process with rings. It inherits its board, and three
// descriptors for each ring.
func ringProducer(ctx context.Context, p harness.Params, args []string) error {
	index, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	b, err := openBoard(3)
	if err != nil {
		return err
	}
	outlets := make([]outlet, share(p.Rings, p.Producers, index))
	for i := range outlets {
		tx, err := sharedring.OpenSender[record](ringAt(4 + 3*i))
		if err != nil {
			return err
		}
		outlets[i] = &ringOutlet{tx: tx, board: b}
	}
	return runProducer(ctx, p, index, outlets)
}

// ringAt is a ring whose descriptors are fd and the two after it.
func ringAt(fd int) sharedring.Handle {
	return sharedring.Handle{Capacity: ringCapacity, ItemSize: recordSize, Memory: fd, EmptySignal: fd + 1, FullSignal: fd + 2}
}

// inheritable are the descriptors of h as ringAt expects them. They belong to the
// files.
func inheritable(h sharedring.Handle) []*os.File {
	var files []*os.File
	for _, fd := range []int{h.Memory, h.EmptySignal, h.FullSignal} {
		files = append(files, os.NewFile(uintptr(fd), "ring"))
	}
	return files
}

// ringSet is the consumer's ends of the rings of a load.
type ringSet struct {
	rings  []ring
	boards []*board
}

type ring = *sharedring.Receiver[record]

// startRings makes p.Rings rings and starts the producers that feed them.
func startRings(ctx context.Context, p harness.Params) (*ringSet, *load, error) {
	rs := &ringSet{}
	l, err := startLoad(ctx, ringPeer, p, func(i int) ([]*os.File, error) {
		return rs.add(share(p.Rings, p.Producers, i))
	})
	if err != nil {
		rs.close()
		return nil, nil, fmt.Errorf("feed %d rings: %w", p.Rings, err)
	}
	return rs, l, nil
}

// add makes n more rings and a board, and returns the descriptors of their other
// ends, those made before an error too.
func (rs *ringSet) add(n int) (files []*os.File, err error) {
	b, f, err := newBoard()
	if err != nil {
		return nil, err
	}
	rs.boards = append(rs.boards, b)
	files = append(files, f)
	for range n {
		rx, far, err := newRing()
		files = append(files, far...)
		if err != nil {
			return files, err
		}
		rs.rings = append(rs.rings, rx)
	}
	return files, nil
}

// newRing makes a ring, and returns its receiver and, with an error too, the
// descriptors for a sender to inherit.
func newRing() (ring, []*os.File, error) {
	h, err := sharedring.Create(ringCapacity, recordSize)
	if err != nil {
		return nil, nil, err
	}
	far := inheritable(h)
	mine, err := h.Dup()
	if err != nil {
		return nil, far, err
	}
	rx, err := sharedring.OpenReceiver[record](mine)
	return rx, far, err
}

// doorbells is how often both sides rang.
func (rs *ringSet) doorbells() (n uint64) {
	for _, rx := range rs.rings {
		n += rx.Doorbells()
	}
	for _, b := range rs.boards {
		n += b.doorbells.Load()
	}
	return n
}

func (rs *ringSet) close() {
	for _, rx := range rs.rings {
		_ = rx.Close() // the process ends
	}
	for _, b := range rs.boards {
		_ = b.close()
	}
}
