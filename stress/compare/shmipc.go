package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/cloudwego/shmipc-go"

	"github.com/shmloop/shmloop/stress/harness"
	"github.com/shmloop/shmloop/stress/scenario"
)

// How shmipc-go is set up, each choice being the fastest that was found:
//
//   - Reserve and ReadBytes, which give its shared memory itself, with one copy on each
//     side, as in all arms.
//   - Buffers as large as what one Flush sends, so that this is one buffer. (With 256
//     bytes more, as in its own benchmark, it is slower.)
//   - 4 MiB of them, enough to work ahead: it takes them in turn, so more leave the
//     cache. With 16 MiB it takes half as long again for messages from 4 KiB on; its
//     default is 32.
//   - GOMAXPROCS(1) in both processes, as in its example: its loop hands a message to
//     the receiving goroutine, and a second thread makes that a wake-up.
//   - A window. It has no flow control: a sender that runs out of buffers writes to
//     the unix socket from then on, which is slow. So the receiver says now and then
//     how far it is. A block in which the socket was used fails.
const (
	shmipcMemory = 4 << 20
	shmipcQueue  = 1 << 16  // messages; never full
	shmipcUnit   = 64 << 10 // bytes of one Flush at most
	ackBytes     = 8
)

const (
	shmipcSender = "shmipc-sender"
	shmipcPong   = "shmipc-pong"
)

func shmipcPeers() map[string]harness.Peer {
	return map[string]harness.Peer{shmipcSender: shmipcSend, shmipcPong: shmipcAnswer}
}

func shmipcStream() []harness.Arm {
	never := func(harness.Params) string { return "" }
	return []harness.Arm{
		{
			Name:  "shmipc",
			About: "shmipc-go, Reserve and ReadBytes, one Flush a message, or for each 64 KiB of it",
			Block: func(ctx context.Context, p harness.Params) (harness.Result, error) {
				return shmipcReceive(ctx, p, shapeOf(p.Size, 0))
			},
		},
		{
			Name:  "shmipc-buffered",
			About: "the same, one Flush for 64 KiB of messages",
			Skip:  skipBuffered(never),
			Block: func(ctx context.Context, p harness.Params) (harness.Result, error) {
				return shmipcReceive(ctx, p, shapeOf(p.Size, scenario.StreamBatch))
			},
		},
	}
}

// shape is how messages travel: some whole ones are a block, which is sent in units.
type shape struct{ block, unit int }

func shapeOf(size, batch int) shape {
	block := max(1, batch/size) * size
	return shape{block: block, unit: min(block, shmipcUnit)}
}

// shmipcConfig is for units of that size; acknowledgements have buffers of their own.
func shmipcConfig(unit int) *shmipc.Config {
	c := shmipc.DefaultConfig()
	c.InitializeTimeout = 10 * time.Second // of a handshake, while others use the machine
	c.MemMapType = shmipc.MemMapTypeMemFd
	c.QueueCap = shmipcQueue
	c.ShareMemoryBufferCap = shmipcMemory
	c.BufferSliceSizes = []*shmipc.SizePercentPair{
		{Size: bufferSize(ackBytes), Percent: 5},
		{Size: bufferSize(max(unit, 2*ackBytes)), Percent: 95},
	}
	// Names of memory; a process finds its mapping by them.
	name := fmt.Sprintf("stress-%d-%d", os.Getpid(), time.Now().UnixNano())
	c.ShareMemoryPathPrefix, c.QueuePath = name, name+"-queue"
	return c
}

// bufferSize keeps buffers aligned, with their headers of 20 bytes.
func bufferSize(n int) uint32 { return uint32((n+20+7)/8*8 - 20) }

// window is how many units may be on the way, and ackEvery after how many the
// receiver tells that it has them.
func window(unit int) int {
	buffers := shmipcMemory * 9 / 10 / (unit + 32)
	return min(buffers, shmipcQueue/2) * 3 / 4
}

func ackEvery(unit int) int { return max(1, window(unit)/4) }

// shmipcReceive is the consumer, and measures.
func shmipcReceive(ctx context.Context, p harness.Params, s shape) (_ harness.Result, err error) {
	stream, producer, err := shmipcAccept(ctx, p, s.unit, anyCPU, shmipcSender, strconv.Itoa(s.block))
	if err != nil {
		return harness.Result{}, err
	}
	w := harness.NewWindow(p, producer)
	countSyncs(w, stream.Session())
	w.Start(ctx)
	var check harness.Check
	block, ack := make([]byte, s.block), make([]byte, ackBytes)
	for units, n := 0, 0; w.Add(n, n*p.Size); n = s.block / p.Size {
		for done := 0; done < s.block; {
			unit := min(s.unit, s.block-done)
			b, err := stream.BufferReader().ReadBytes(unit)
			if err != nil {
				return harness.Result{}, fmt.Errorf("shmipc: receive: %w", err)
			}
			done += copy(block[done:], b)
			stream.BufferReader().ReleasePreviousRead()
			if units++; units%ackEvery(s.unit) == 0 {
				if err := shmipcWrite(stream, ack); err != nil {
					return harness.Result{}, err
				}
			}
		}
		for i := 0; i < s.block; i += p.Size {
			check.See(binary.NativeEndian.Uint64(block[i:]))
		}
	}
	return shmipcResult(w, &check, stream, producer)
}

// shmipcSend is the producer. Its arguments are those of shmipcDial and the bytes of a
// block.
func shmipcSend(ctx context.Context, p harness.Params, args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("%d arguments for a sender, 4 expected", len(args))
	}
	unitBytes, err1 := strconv.Atoi(args[2])
	blockBytes, err2 := strconv.Atoi(args[3])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	stream, err := shmipcDial(ctx, args)
	if err != nil {
		return err
	}
	block := make([]byte, blockBytes)
	free := window(unitBytes)
	for seq := uint64(0); ; {
		for i := 0; i < len(block); i += p.Size {
			binary.NativeEndian.PutUint64(block[i:], seq)
			seq++
		}
		for rest := block; len(rest) > 0; {
			if free == 0 {
				if _, err := stream.BufferReader().ReadBytes(ackBytes); err != nil {
					return fmt.Errorf("shmipc: receive: %w", err)
				}
				stream.BufferReader().ReleasePreviousRead()
				free += ackEvery(unitBytes)
			}
			free--
			unit := min(unitBytes, len(rest))
			if err := shmipcWrite(stream, rest[:unit]); err != nil {
				return err
			}
			rest = rest[unit:]
		}
	}
}

// shmipcWrite sends b by one Flush.
func shmipcWrite(stream *shmipc.Stream, b []byte) error {
	to, err := stream.BufferWriter().Reserve(len(b))
	if err != nil {
		return fmt.Errorf("shmipc: reserve %d bytes: %w", len(b), err)
	}
	copy(to, b)
	if err := stream.Flush(false); err != nil {
		return fmt.Errorf("shmipc: flush %d bytes: %w", len(b), err)
	}
	return nil
}

func shmipcPingPong() []harness.Arm {
	large := func(p harness.Params) string {
		if p.Size > shmipcMemory/4 {
			return "too large for its buffers of 4 MiB in all"
		}
		return ""
	}
	return []harness.Arm{
		{
			Name: "shmipc", Skip: large,
			About: "shmipc-go, Reserve and ReadBytes, one Flush each way, the buffer of a message used for its answer",
			Block: func(ctx context.Context, p harness.Params) (harness.Result, error) {
				cpu, err := lastCPU()
				if err != nil {
					return harness.Result{}, err
				}
				return shmipcPing(ctx, p, cpu)
			},
		},
		{
			Name: "shmipc-free", Skip: large,
			About: "as shmipc, on any CPU",
			Block: func(ctx context.Context, p harness.Params) (harness.Result, error) {
				return shmipcPing(ctx, p, anyCPU)
			},
		},
	}
}

// pingSamples is as in the other arms: the time of one round trip in so many is kept.
const pingSamples = 8

// shmipcPing measures round trips.
func shmipcPing(ctx context.Context, p harness.Params, cpu int) (harness.Result, error) {
	stream, peer, err := shmipcAccept(ctx, p, p.Size, cpu, shmipcPong)
	if err != nil {
		return harness.Result{}, err
	}
	ping, pong := make([]byte, p.Size), make([]byte, p.Size)
	if err := shmipcRead(stream, pong); err != nil { // the greeting
		return harness.Result{}, err
	}
	w := harness.NewWindow(p, peer)
	countSyncs(w, stream.Session())
	w.Start(ctx)
	var check harness.Check
	for seq := uint64(0); w.Add(pingSamples, pingSamples*p.Size); {
		start := time.Now()
		for i := range pingSamples {
			binary.NativeEndian.PutUint64(ping, seq)
			if err := errors.Join(shmipcWrite(stream, ping), shmipcRead(stream, pong)); err != nil {
				return harness.Result{}, err
			}
			if i == 0 {
				w.Record(time.Since(start))
			}
			check.See(binary.NativeEndian.Uint64(pong))
			seq++
		}
	}
	return shmipcResult(w, &check, stream, peer)
}

// shmipcAnswer is the other side. Its arguments are those of shmipcDial.
func shmipcAnswer(ctx context.Context, p harness.Params, args []string) error {
	stream, err := shmipcDial(ctx, args)
	if err != nil {
		return err
	}
	m := make([]byte, p.Size)
	for err == nil {
		if err = shmipcWrite(stream, m); err == nil { // at first a greeting, by which the stream is accepted
			err = shmipcRead(stream, m)
		}
	}
	return err
}

// shmipcRead receives a message and keeps its buffer for the answer.
func shmipcRead(stream *shmipc.Stream, m []byte) error {
	b, err := stream.BufferReader().ReadBytes(len(m))
	if err != nil {
		return fmt.Errorf("shmipc: receive: %w", err)
	}
	copy(m, b)
	stream.ReleaseReadAndReuse()
	return nil
}

// shmipcAccept starts a peer that sends, and returns the stream on which it does. cpu
// is where both run.
func shmipcAccept(ctx context.Context, p harness.Params, unit, cpu int, peer string, args ...string) (_ *shmipc.Stream, _ *harness.PeerProcess, err error) {
	if err := checkSize(p); err != nil {
		return nil, nil, err
	}
	if err := shmipcProcess(cpu); err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "stress-shmipc")
	if err != nil {
		return nil, nil, err
	}
	// The socket has no name any more once there is a connection.
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "socket")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	process, err := harness.StartPeer(ctx, peer, p, nil, append([]string{path, strconv.Itoa(cpu), strconv.Itoa(unit)}, args...)...)
	if err != nil {
		return nil, nil, err
	}
	stream, err := acceptStream(ctx, listener, unit)
	if err != nil {
		return nil, nil, errors.Join(err, process.Stop())
	}
	return stream, process, nil
}

func acceptStream(ctx context.Context, listener *net.UnixListener, unit int) (*shmipc.Stream, error) {
	conn, err := listener.Accept()
	if err != nil {
		return nil, err
	}
	session, err := shmipc.Server(conn, shmipcConfig(unit)) // it closes conn
	if err != nil {
		return nil, fmt.Errorf("shmipc: session: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = session.Close() }) // for a block that failed; others leave it to the process's end
	stream, err := session.AcceptStream()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("shmipc: accept: %w", err), session.Close())
	}
	return stream, nil
}

// shmipcDial is the peer's side of shmipcAccept. The arguments are the socket, the CPU
// and the unit.
func shmipcDial(ctx context.Context, args []string) (*shmipc.Stream, error) {
	if len(args) < 3 {
		return nil, fmt.Errorf("%d arguments for a peer, 3 expected", len(args))
	}
	cpu, err1 := strconv.Atoi(args[1])
	unit, err2 := strconv.Atoi(args[2])
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if err := shmipcProcess(cpu); err != nil {
		return nil, err
	}
	c := shmipc.DefaultSessionManagerConfig()
	c.Config, c.Network, c.Address = shmipcConfig(unit), "unix", args[0]
	manager, err := shmipc.NewSessionManager(c)
	if err != nil {
		return nil, fmt.Errorf("shmipc: session: %w", err)
	}
	stream, err := manager.GetStream()
	if err != nil {
		return nil, fmt.Errorf("shmipc: stream: %w", err)
	}
	// Closing a session while its stream is in use frees the buffers under it. So the
	// process ends as it is.
	context.AfterFunc(ctx, func() { os.Exit(0) })
	return stream, nil
}

// shmipcProcess sets up a process for shmipc.
func shmipcProcess(cpu int) error {
	const silent = 5 // the package has no exported name for it
	shmipc.SetLogLevel(silent)
	runtime.GOMAXPROCS(1)
	if cpu == anyCPU {
		return nil
	}
	return pinProcess(cpu)
}

// countSyncs counts as doorbells the writes to the socket that wake the other side.
func countSyncs(w *harness.Window, session *shmipc.Session) {
	w.Count(harness.Doorbells, func() uint64 {
		m, _, _ := session.GetMetrics()
		return m.SendSyncEventCount + m.ReceiveSyncEventCount
	})
}

// shmipcResult ends the peer.
func shmipcResult(w *harness.Window, check *harness.Check, stream *shmipc.Stream, peer *harness.PeerProcess) (harness.Result, error) {
	_, m, _ := stream.Session().GetMetrics()
	if err := peer.Stop(); err != nil {
		return harness.Result{}, err
	}
	if n := m.FallbackReadCount + m.FallbackWriteCount; n > 0 {
		return harness.Result{}, fmt.Errorf("shmipc: %d messages went by the socket, for want of buffers", n)
	}
	return w.Result(check)
}
