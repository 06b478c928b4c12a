package scenario

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// Sockets and pipes are read and written by blocking system calls on a thread of
// their own. Here that is quicker than net.Conn, whose goroutine parks in an epoll,
// and than unix.Read and unix.Write, which give the processor away around each call.

// socketBytes is the send buffer to ask for. Large messages and streams of small ones
// gain by more than the usual 208 KiB.
const socketBytes = 4 << 20

// noFD is no descriptor: an end that bytes only leave, or only come to.
const noFD = -1

// fdEnd is an end of a socket (the same number twice) or of pipes.
func fdEnd(in, out int) *end {
	e := &end{close: func() error {
		var err error
		if in != noFD {
			err = closeFD(in)
		}
		if out != noFD && out != in {
			err = errors.Join(err, closeFD(out))
		}
		return err
	}}
	if in != noFD {
		e.Reader = fdReader(in)
	}
	if out != noFD {
		e.Writer = fdWriter(out)
	}
	return e
}

type fdReader int

func (fd fdReader) Read(p []byte) (int, error) {
	n, err := rawRead(int(fd), p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

type fdWriter int

func (fd fdWriter) Write(p []byte) (done int, err error) {
	for done < len(p) && err == nil {
		var n int
		n, err = rawWrite(int(fd), p[done:])
		done += n
	}
	return done, err
}

// roomyPair is socketPair with send buffers for large messages.
func roomyPair(nonblock bool) (near, far int, err error) {
	near, far, err = socketPair(nonblock)
	if err != nil {
		return noFD, noFD, err
	}
	if err := errors.Join(growSendBuffer(near, socketBytes), growSendBuffer(far, socketBytes)); err != nil {
		return noFD, noFD, errors.Join(err, closeFD(near), closeFD(far))
	}
	return near, far, nil
}

func openUnix(context.Context) (*end, []int, error) {
	near, far, err := roomyPair(false)
	if err != nil {
		return nil, nil, err
	}
	return fdEnd(near, near), []int{far}, nil
}

func dialSocket(context.Context) (*end, error) { return fdEnd(firstFile, firstFile), nil }

// dialBuffered gathers small messages.
func dialBuffered(context.Context) (*end, error) {
	e := fdEnd(firstFile, firstFile)
	b := bufio.NewWriterSize(e.Writer, StreamBatch)
	e.Writer, e.flush = b, b.Flush
	return e, nil
}

// openTCP makes a connection over the loopback interface. Go sets TCP_NODELAY.
func openTCP(context.Context) (*end, []int, error) {
	near, far, err := tcpPair()
	if err != nil {
		return nil, nil, fmt.Errorf("scenario: connect by TCP: %w", err)
	}
	return fdEnd(near, near), []int{far}, nil
}

func tcpPair() (near, far int, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return noFD, noFD, err
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return noFD, noFD, err
	}
	defer dialed.Close()
	accepted, err := l.Accept()
	if err != nil {
		return noFD, noFD, err
	}
	defer accepted.Close()
	if near, err = blockingFD(dialed); err != nil {
		return noFD, noFD, err
	}
	if far, err = blockingFD(accepted); err != nil {
		return noFD, noFD, errors.Join(err, closeFD(near))
	}
	return near, far, nil
}

// blockingFD returns a blocking descriptor for a connection, which is closed soon.
func blockingFD(c net.Conn) (int, error) {
	f, err := c.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return noFD, err
	}
	return blockingDup(f)
}
