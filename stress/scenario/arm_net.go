package scenario

import (
	"errors"
	"io"
	"net"
	"sync"
)

// socketBuffer is what a read of a connection can take: as much as a full ring.
const socketBuffer = 16 << 10

// serveByNet is a goroutine for each connection, and one that accepts them.
func serveByNet(path string, in *intake) (*service, error) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	n := &netServer{listener: listener, in: in, failed: make(chan error, 1)}
	n.all.Go(n.accept)
	return &service{failed: n.failed, stop: n.stop}, nil
}

type netServer struct {
	listener net.Listener
	in       *intake
	failed   chan error
	all      sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
}

func (n *netServer) accept() {
	for i := range n.in.flows {
		conn, err := n.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			report(n.failed, err)
			return
		}
		n.mu.Lock()
		n.conns = append(n.conns, conn)
		n.mu.Unlock()
		n.all.Go(func() { n.receive(conn, i) })
	}
}

func (n *netServer) receive(conn net.Conn, i int) {
	buf := make([]byte, socketBuffer)
	for part := 0; ; { // bytes of a record that has not come in full
		got, err := conn.Read(buf[part:])
		whole := (part + got) / recordSize * recordSize
		n.in.takeBytes(i, buf[:whole])
		part = copy(buf, buf[whole:part+got])
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			report(n.failed, err)
			return
		}
	}
}

func (n *netServer) stop() error {
	err := n.listener.Close()
	n.mu.Lock()
	for _, conn := range n.conns {
		err = errors.Join(err, conn.Close())
	}
	n.mu.Unlock()
	n.all.Wait()
	return err
}
