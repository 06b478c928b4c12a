package sharedring

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// A frame on the wire is its length, 4 bytes native-endian like the ring's count,
// then its bytes. It may wrap around the ring's end, and may be larger than the
// ring: then it passes in parts.
const frameHeader = 4

// FrameSender sends frames over a byte ring. It is made by [NewFrameSender] and is
// for one goroutine at a time.
type FrameSender struct {
	tx      *Sender[byte]
	header  [frameHeader]byte
	backlog []byte // the rest of a frame that did not fit; it aliases buf
	buf     []byte
	err     error // a frame was cut off
}

// NewFrameSender returns a FrameSender over tx, which must be used for nothing else
// and still belongs to the caller.
func NewFrameSender(tx *Sender[byte]) *FrameSender { return &FrameSender{tx: tx} }

// Send sends one frame and never waits. What does not fit is copied and waits for
// [FrameSender.Flush]; until then the next Send returns [ErrBacklog] and sends
// nothing. A frame of 4 GiB or more is an [ErrFrame].
func (f *FrameSender) Send(frame []byte) error {
	if done, err := f.Flush(); err != nil || !done {
		if err == nil {
			err = fmt.Errorf("sharedring: send a frame of %d bytes: %w", len(frame), ErrBacklog)
		}
		return err
	}
	if err := f.setHeader(frame); err != nil {
		return err
	}
	n, err := f.place(frame)
	if err != nil {
		return err
	}
	if n < frameHeader+len(frame) {
		f.buf = append(f.buf[:0], f.header[:]...)
		f.buf = append(f.buf, frame...)
		f.backlog = f.buf[n:]
	}
	return nil
}

// Flush sends more of a frame that did not fit, and tells whether all of it is in
// the ring. Call it when the ring has room again.
func (f *FrameSender) Flush() (done bool, err error) {
	if f.err != nil {
		return false, f.err
	}
	if len(f.backlog) == 0 {
		return true, nil
	}
	n, err := f.tx.Send(f.backlog)
	f.backlog = f.backlog[n:]
	return len(f.backlog) == 0, err
}

// SendContext sends one frame, waiting for room as often as needed. If it fails, by
// ctx or otherwise, with a part of the frame sent, that error is final: every later
// call returns it, since the other side could not tell where a new frame begins.
func (f *FrameSender) SendContext(ctx context.Context, frame []byte) error {
	if f.err != nil {
		return f.err
	}
	if len(f.backlog) > 0 {
		n, err := f.tx.SendContext(ctx, f.backlog)
		f.backlog = f.backlog[n:]
		if err != nil {
			return err
		}
	}
	if err := f.setHeader(frame); err != nil {
		return err
	}
	n, err := f.place(frame)
	if err != nil {
		return err
	}
	for n < frameHeader+len(frame) && err == nil {
		rest := frame
		if n < frameHeader {
			rest = f.header[n:]
		} else {
			rest = frame[n-frameHeader:]
		}
		var sent int
		sent, err = f.tx.SendContext(ctx, rest)
		n += sent
	}
	if err != nil && n > 0 {
		f.err = fmt.Errorf("sharedring: %d bytes of a frame of %d were sent, then: %w", n, len(frame), err)
		return f.err
	}
	return err
}

func (f *FrameSender) setHeader(frame []byte) error {
	if uint64(len(frame)) > math.MaxUint32 {
		return fmt.Errorf("sharedring: send a frame of %d bytes, %d are the limit: %w", len(frame), uint32(math.MaxUint32), ErrFrame)
	}
	binary.NativeEndian.PutUint32(f.header[:], uint32(len(frame)))
	return nil
}

// place puts as much of header and frame into the ring as fits, with one shared
// write where that does not wrap.
func (f *FrameSender) place(frame []byte) (n int, err error) {
	for total := frameHeader + len(frame); n < total; {
		span, err := f.tx.Reserve(total - n)
		if err != nil || len(span) == 0 {
			return n, err
		}
		filled := 0
		if n < frameHeader {
			filled = copy(span, f.header[n:])
		}
		if n+filled >= frameHeader {
			filled += copy(span[filled:], frame[n+filled-frameHeader:])
		}
		if err := f.tx.Commit(filled); err != nil {
			return n, err
		}
		n += filled
	}
	return n, nil
}

// FrameReceiver receives frames from a byte ring. It is made by [NewFrameReceiver]
// and is for one goroutine at a time.
type FrameReceiver struct {
	rx     *Receiver[byte]
	limit  int
	header [frameHeader]byte
	buf    []byte
	got    int // bytes of header and frame that have arrived
	err    error
}

// NewFrameReceiver returns a FrameReceiver over rx, which must be used for nothing
// else and still belongs to the caller. limit is the largest frame in bytes that
// it accepts, and what it may hold in private memory: the peer chooses the length
// it announces.
func NewFrameReceiver(rx *Receiver[byte], limit int) *FrameReceiver {
	return &FrameReceiver{rx: rx, limit: max(limit, 0)}
}

// Next returns the next frame and never waits: ok = false means that there is no
// whole frame yet, and that the ring is empty. The frame is contiguous, a private
// copy, and valid until the next call. The errors are [ErrFrame] for a frame above
// the limit, which is final, [io.ErrUnexpectedEOF] for an end within a frame, and those of
// [Receiver.Receive].
func (f *FrameReceiver) Next() (frame []byte, ok bool, err error) {
	return f.next(f.rx.Receive)
}

// NextContext returns the next frame and waits until there is one. Otherwise it is
// like Next.
func (f *FrameReceiver) NextContext(ctx context.Context) ([]byte, error) {
	frame, _, err := f.next(func(dst []byte) (int, error) { return f.rx.ReceiveContext(ctx, dst) })
	return frame, err
}

func (f *FrameReceiver) next(receive func([]byte) (int, error)) (frame []byte, ok bool, err error) {
	if f.err != nil {
		return nil, false, f.err
	}
	for f.got < frameHeader {
		if ok, err := f.more(receive, f.header[f.got:]); !ok {
			return nil, false, err
		}
	}
	announced := binary.NativeEndian.Uint32(f.header[:])
	if uint64(announced) > uint64(f.limit) {
		f.err = fmt.Errorf("sharedring: peer announces a frame of %d bytes, %d are allowed: %w", announced, f.limit, ErrFrame)
		return nil, false, f.err
	}
	size := int(announced)
	if cap(f.buf) < size {
		f.buf = make([]byte, size)
	}
	f.buf = f.buf[:size]
	for f.got < frameHeader+size {
		if ok, err := f.more(receive, f.buf[f.got-frameHeader:]); !ok {
			return nil, false, err
		}
	}
	f.got = 0
	return f.buf, true, nil
}

func (f *FrameReceiver) more(receive func([]byte) (int, error), dst []byte) (bool, error) {
	n, err := receive(dst)
	f.got += n
	if err == io.EOF && f.got > 0 {
		err = fmt.Errorf("sharedring: ring ended %d bytes into a frame: %w", f.got, io.ErrUnexpectedEOF)
	}
	return n > 0 && err == nil, err
}
