package scenario

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shmloop/shmloop/reactor/server"
	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/stress/harness"
)

// books are kept by the server of chaos, on its one loop: of each connection what came
// and how it ended.
type books struct {
	window *harness.Window
	buf    []record
	conns  []*account
}

// account is what the books have of one connection.
type account struct {
	pid      int
	check    harness.Check
	received uint64
	empty    int // turns in a row that found nothing
	closed   bool
	end      error // how it ended, when closed
}

func newBooks(w *harness.Window) *books { return &books{window: w, buf: make([]record, turn)} }

var (
	errGarbage = errors.New("the sequence numbers are wrong")
	errStorm   = errors.New("the doorbell is rung for nothing")
)

// maxEmpty is how many turns in a row may find nothing. A client that keeps the rules
// causes one or two, at its beginning and its end.
const maxEmpty = 100

func (b *books) open(c *server.Conn[record]) error {
	a := &account{pid: int(c.Peer().PID)}
	b.conns = append(b.conns, a)
	c.Data = a
	return nil
}

// ready takes a batch. It ends connections that a server has to end by itself: the
// library cannot know what messages should be.
func (b *books) ready(c *server.Conn[record]) error {
	a := c.Data.(*account)
	n, err := c.Receive(b.buf)
	if err != nil {
		return err
	}
	b.take(a, b.buf[:n])
	switch {
	case a.wrong() > 0:
		return errGarbage
	case n > 0:
		a.empty = 0
	default:
		a.empty++
	}
	if a.empty > maxEmpty {
		return errStorm
	}
	return nil
}

func (b *books) take(a *account, batch []record) {
	at := now()
	a.received += uint64(len(batch))
	for i := range batch {
		a.check.See(batch[i].Sequence)
		if role(batch[i].Payload[0]) == wellBehaved {
			b.window.Add(1, recordSize)
			b.window.Record(time.Duration(at - batch[i].Due))
		}
	}
}

func (a *account) wrong() uint64 { return a.check.Lost + a.check.Duplicated + a.check.Reordered }

func (b *books) close(c *server.Conn[record], err error) {
	a := c.Data.(*account)
	a.closed, a.end = true, err
}

// of returns the connections that a process had.
func (b *books) of(pid int) (conns []*account) {
	for _, a := range b.conns {
		if a.pid == pid {
			conns = append(conns, a)
		}
	}
	return conns
}

// judge adds to r what clients that kept the rules have lost. It fails if one of the
// others was not noticed, or one of them was taken for such.
func (c *chaosRun) judge(r *harness.Result) error {
	var errs []error
	refused := c.stats.Refused
	for _, cl := range c.clients {
		conns := c.books.of(cl.pid)
		switch {
		case cl.role >= firstHostile:
			errs = append(errs, judgeHostile(cl, conns, &refused))
		case cl.killed:
			errs = append(errs, judgeKilled(cl, conns, r))
		default:
			errs = append(errs, judgeHonest(cl, conns, r))
		}
	}
	return errors.Join(errs...)
}

// judgeHonest is for clients that ended as they should.
func judgeHonest(cl *client, conns []*account, r *harness.Result) error {
	enter(cl, conns, r)
	for _, a := range conns {
		if cl.done == 0 && errors.Is(a.end, sharedring.ErrPeerGone) {
			continue // told to end while it was connecting
		}
		if !a.closed || a.end != nil {
			return fmt.Errorf("client %d kept the rules: closed %t, error %w", a.pid, a.closed, a.end)
		}
	}
	return nil
}

// judgeKilled is for clients that were killed: what they had sent is there, and their
// death was seen.
func judgeKilled(cl *client, conns []*account, r *harness.Result) error {
	enter(cl, conns, r)
	for _, a := range conns {
		if !errors.Is(a.end, sharedring.ErrPeerGone) {
			return fmt.Errorf("client %d was killed, which was not noticed: closed %t, error %w", a.pid, a.closed, a.end)
		}
	}
	if sent := cl.done; len(conns) == 0 && sent > 0 {
		return fmt.Errorf("client %d has sent %d messages to nobody", cl.pid, sent)
	}
	return nil
}

// enter adds what is wrong with the messages of an honest client.
func enter(cl *client, conns []*account, r *harness.Result) {
	var received, lost uint64
	for _, a := range conns {
		received += a.received - a.check.Duplicated
		lost += a.check.Lost
		r.Duplicated += a.check.Duplicated
		r.Reordered += a.check.Reordered
	}
	// The board is written after the send, so a killed client may have sent one more.
	if sent := cl.done; received+lost < sent {
		lost = sent - received
	}
	r.Lost += lost
}

// judgeHostile compares the attacks that a client has made with those that were seen
// for what they are. Some are seen before the ring is served: such clients are refused.
func judgeHostile(cl *client, conns []*account, refused *uint64) error {
	attack := attackOf(cl.role)
	seen := uint64(0)
	var other []error // ends for another reason
	for _, a := range conns {
		if slices.ContainsFunc(attack.noticed, func(target error) bool { return errors.Is(a.end, target) }) {
			seen++
		} else {
			other = append(other, a.end)
		}
	}
	if early := min(cl.done-min(seen, cl.done), *refused); attack.early {
		*refused -= early
		seen += early
	}
	if seen < cl.done {
		return fmt.Errorf("of %d attacks with %s only %d were noticed; others ended with: %v", cl.done, attack.name, seen, other)
	}
	return nil
}

// attackOf returns what a hostile client does.
func attackOf(r role) *attack { return &attacks[r-firstHostile] }
