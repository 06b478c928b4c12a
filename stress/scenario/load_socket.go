package scenario

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/shmloop/shmloop/stress/harness"
)

// socketPeer is the name of the producers with connections.
const socketPeer = "fan-sockets"

// socketOutlet is a unix stream connection, as its producer sees it: one write for as
// many records as fill the buffer, which may be one.
type socketOutlet struct {
	conn    *net.UnixConn
	raw     syscall.RawConn
	buf     []byte
	used    int // bytes of buf that are records
	written int // of these
	try     func(fd uintptr) bool
	err     error // of try
}

// newSocketOutlet connects to path, where a consumer is about to listen, and gathers
// batch records for a write.
func newSocketOutlet(ctx context.Context, path string, batch int) (*socketOutlet, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	for err != nil && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
		conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	}
	if err != nil {
		return nil, err
	}
	o := &socketOutlet{conn: conn, buf: make([]byte, batch*recordSize)}
	if o.raw, err = conn.SyscallConn(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	o.try = func(fd uintptr) bool {
		var n int
		n, o.err = syscall.Write(int(fd), o.buf[o.written:o.used])
		o.wrote(max(n, 0))
		return true // with EAGAIN too: offer does not wait
	}
	return o, nil
}

// wrote counts n bytes as written.
func (o *socketOutlet) wrote(n int) {
	if o.written += n; o.written == o.used {
		o.used, o.written = 0, 0
	}
}

func (o *socketOutlet) full() bool { return o.used == len(o.buf) }

// add puts r into the buffer, which must not be full.
func (o *socketOutlet) add(r *record) {
	r.put(o.buf[o.used:])
	o.used += recordSize
}

// write writes what it can without waiting.
func (o *socketOutlet) write() error {
	if err := o.raw.Write(o.try); err != nil {
		return err
	}
	if errors.Is(o.err, syscall.EAGAIN) || errors.Is(o.err, syscall.EINTR) {
		return nil
	}
	return o.err
}

func (o *socketOutlet) offer(r *record) (sent bool, err error) {
	if o.full() {
		if err := o.write(); err != nil || o.full() {
			return false, err
		}
	}
	o.add(r)
	if o.full() {
		err = o.write()
	}
	return true, err
}

func (o *socketOutlet) force(ctx context.Context, r *record) error {
	if o.full() {
		if err := o.flush(ctx); err != nil {
			return err
		}
	}
	o.add(r)
	if o.full() {
		return o.flush(ctx)
	}
	return nil
}

// flush waits for as long as the consumer lives.
func (o *socketOutlet) flush(context.Context) error {
	if o.written == o.used {
		return nil
	}
	n, err := o.conn.Write(o.buf[o.written:o.used])
	o.wrote(n)
	return err
}

// socketProducer is a producer process with connections. Its arguments are its index,
// the path of the socket, and how many records are one write.
func socketProducer(ctx context.Context, p harness.Params, args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%d arguments for a producer, 3 expected", len(args))
	}
	index, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	batch, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	outlets := make([]outlet, share(p.Rings, p.Producers, index))
	for i := range outlets {
		o, err := newSocketOutlet(ctx, args[1], batch)
		if err != nil {
			return err
		}
		defer o.conn.Close()
		outlets[i] = o
	}
	return runProducer(ctx, p, index, outlets)
}
