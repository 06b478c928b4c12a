package sharedring

import (
	"context"
	"io"
)

// Reader reads a byte ring as a stream. It is made by [NewReader].
type Reader struct {
	ctx context.Context
	rx  *Receiver[byte]
}

// Writer writes a stream into a byte ring. It is made by [NewWriter].
type Writer struct {
	ctx context.Context
	tx  *Sender[byte]
}

var (
	_ io.Reader   = (*Reader)(nil)
	_ io.WriterTo = (*Reader)(nil)
	_ io.Writer   = (*Writer)(nil)
)

// NewReader returns an [io.Reader] of rx. Its Read waits until there is a byte, ctx
// ends or the ring does: after [Receiver.HangUp] with a nil reason that is
// [io.EOF]. rx still belongs to the caller, who closes it.
func NewReader(ctx context.Context, rx *Receiver[byte]) *Reader { return &Reader{ctx, rx} }

// Read implements [io.Reader].
func (r *Reader) Read(p []byte) (int, error) { return r.rx.ReceiveContext(r.ctx, p) }

// WriteTo implements [io.WriterTo]: w is given the ring's own memory, with no copy
// in between. The peer can change those bytes while w looks at them.
func (r *Reader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		view, err := r.rx.PeekContext(r.ctx)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := w.Write(view)
		total += int64(n)
		if discardErr := r.rx.Discard(n); err == nil {
			err = discardErr
		}
		if err == nil && n < len(view) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return total, err
		}
	}
}

// NewWriter returns an [io.Writer] to tx. Its Write waits until all is in the ring,
// ctx ends or the ring does. tx still belongs to the caller, who closes it.
func NewWriter(ctx context.Context, tx *Sender[byte]) *Writer { return &Writer{ctx, tx} }

// Write implements [io.Writer].
func (w *Writer) Write(p []byte) (int, error) { return w.tx.SendContext(w.ctx, p) }
