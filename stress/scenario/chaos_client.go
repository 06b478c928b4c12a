package scenario

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/handoff"
	"github.com/shmloop/shmloop/stress/harness"
)

// Names of the client processes of chaos.
const (
	honestPeer  = "chaos-honest"
	hostilePeer = "chaos-hostile"
)

// chaosArgs are the arguments of a client process. It inherits its board.
type chaosArgs struct {
	role         role
	path         string
	index, rings int
	board        *board
}

func parseChaosArgs(args []string) (a chaosArgs, err error) {
	if len(args) != 4 {
		return a, fmt.Errorf("%d arguments, 4 expected", len(args))
	}
	var errs [4]error
	var number int
	number, errs[0] = strconv.Atoi(args[0])
	a.role, a.path = role(number), args[1]
	a.index, errs[1] = strconv.Atoi(args[2])
	a.rings, errs[2] = strconv.Atoi(args[3])
	a.board, errs[3] = openBoard(firstFile)
	return a, errors.Join(errs[:]...)
}

// honest is a client that keeps the rules until it is killed or told to end.
func honest(ctx context.Context, p harness.Params, args []string) error {
	a, err := parseChaosArgs(args)
	if err != nil {
		return err
	}
	var outlets []outlet
	for range a.rings {
		s, err := dialServer(ctx, a.path)
		if err != nil {
			return err
		}
		defer s.close()
		outlets = append(outlets, &countedOutlet{ringOutlet{tx: s.tx, board: a.board}, a.role})
	}
	return runProducer(ctx, p, a.index, outlets)
}

// countedOutlet enters on the board what it has sent, each time.
type countedOutlet struct {
	ringOutlet
	role role
}

func (o *countedOutlet) force(ctx context.Context, r *record) error {
	r.Payload[0] = byte(o.role)
	if err := o.ringOutlet.force(ctx, r); err != nil {
		return err
	}
	o.board.sent.Add(1)
	return nil
}

// session is a connection to a server with its ring.
type session struct {
	conn *handoff.Conn
	ring sharedring.Handle // duplicates, for hostile hands
	tx   *sharedring.Sender[record]
	over chan struct{} // closed when the server ended it
}

func dialServer(ctx context.Context, path string) (_ *session, err error) {
	conn, err := handoff.Dial(ctx, path, handoff.Request{ItemSize: recordSize, Capacity: ringCapacity, Direction: handoff.Out})
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, over: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, conn.Close())
		}
	}()
	h, err := conn.Out()
	if err != nil {
		return nil, err
	}
	if s.ring, err = h.Dup(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	if s.tx, err = sharedring.OpenSender[record](h); err != nil {
		return nil, errors.Join(err, s.ring.Close())
	}
	go func() {
		defer close(s.over)
		s.tx.HangUp(conn.Wait(context.Background())) // or until close
	}()
	return s, nil
}

// close says farewell.
func (s *session) close() {
	_ = s.tx.Close() // the process ends, or the attack
	_ = s.ring.Close()
	_ = s.conn.Close()
	<-s.over
}
