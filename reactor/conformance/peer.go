package conformance

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd"
	"github.com/shmloop/shmloop/memfd/proctest"
	"github.com/shmloop/shmloop/sharedring"
)

const (
	sendRole    = "conformance-send"
	fallRole    = "conformance-fall"
	receiveRole = "conformance-receive"
	vandalRole  = "conformance-vandal"
)

// Roles returns the peers of the suite, for proctest.Main. The map is the caller's.
func Roles() map[string]proctest.Role {
	return map[string]proctest.Role{
		sendRole:    role(playSend),
		fallRole:    role(playFall),
		receiveRole: role(playReceive),
		vandalRole:  role(playVandal),
	}
}

// role is a proctest.Role with a ring as descriptors 3, 4 and 5, and a number as its
// argument.
func role(play func(h sharedring.Handle, n uint64) error) proctest.Role {
	return func(args []string) int {
		n, err := strconv.ParseUint(args[0], 10, 64)
		if err == nil {
			err = play(sharedring.Handle{Capacity: capacity, ItemSize: 8, Memory: 3, EmptySignal: 4, FullSignal: 5}, n)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
}

// playSend sends 0, ..., n-1.
func playSend(h sharedring.Handle, n uint64) error {
	tx, err := sharedring.OpenSender[uint64](h)
	if err != nil {
		return err
	}
	for next := range n {
		if _, err := tx.SendContext(context.Background(), []uint64{next}); err != nil {
			return err
		}
	}
	return tx.Close()
}

// playFall sends 0, ..., n-1, waits for a line, and puts n into the memory without ringing
// the doorbell.
func playFall(h sharedring.Handle, n uint64) error {
	tx, err := sharedring.OpenSender[uint64](h)
	if err != nil {
		return err
	}
	for next := range n {
		if _, err := tx.SendContext(context.Background(), []uint64{next}); err != nil {
			return err
		}
	}
	if err := say("sent"); err != nil {
		return err
	}
	if _, _, err := tx.Raw().Send([]uint64{n}); err != nil {
		return err
	}
	return say("written")
}

// playReceive takes n items, and then no more.
func playReceive(h sharedring.Handle, n uint64) error {
	rx, err := sharedring.OpenReceiver[uint64](h)
	if err != nil {
		return err
	}
	for range n {
		if _, err := rx.ReceiveContext(context.Background(), make([]uint64, 1)); err != nil {
			return err
		}
	}
	return say("received")
}

// playVandal sends 0, waits for a line, writes n where the number of items belongs, and
// rings.
func playVandal(h sharedring.Handle, n uint64) error {
	far, err := h.Dup()
	if err != nil {
		return err
	}
	memory, err := memfd.Open(far.Memory)
	if err != nil {
		return err
	}
	mapping, err := memory.Map(int(memory.Size()))
	if err != nil {
		return err
	}
	tx, err := sharedring.OpenSender[uint64](h)
	if err != nil {
		return err
	}
	if _, err := tx.Send([]uint64{0}); err != nil {
		return err
	}
	if err := say("sent"); err != nil {
		return err
	}
	binary.NativeEndian.PutUint64(mapping.Bytes(), n)
	if err := tx.Signal(); err != nil {
		return err
	}
	return say("written")
}

// say writes a line and waits for an answer.
func say(line string) error {
	fmt.Println(line)
	_, err := bufio.NewReader(os.Stdin).ReadByte()
	if errors.Is(err, io.EOF) {
		return nil // the test is over
	}
	return err
}

// peer is another process at the far end of a ring.
type peer struct {
	*proctest.Process
	r *rig
}

// start gives far, which it closes, to a process.
func (r *rig) start(role string, far sharedring.Handle, n uint64) *peer {
	var files []*os.File
	for _, fd := range []int{far.Memory, far.EmptySignal, far.FullSignal} {
		f := os.NewFile(uintptr(fd), "ring")
		defer f.Close()
		files = append(files, f)
	}
	return &peer{proctest.Start(r, role, files, strconv.FormatUint(n, 10)), r}
}

// watch tells hangUp how the process ends, as the watcher of a lifeline does.
func (p *peer) watch(hangUp func(error)) { go func() { hangUp(p.Wait()) }() }

func (p *peer) says(want string) {
	got, err := p.Stdout.ReadString('\n')
	require.NoError(p.r, err)
	require.Equal(p.r, want+"\n", got)
}

func (p *peer) answer() {
	_, err := p.Stdin.Write([]byte("\n"))
	require.NoError(p.r, err)
}

func (p *peer) kill() { p.r.noError(p.Kill()) }
