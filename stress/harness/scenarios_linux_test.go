package harness

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// socketVariable names a unix socket that the arm and the peer of scenario held
// connect to: the test sees there when they live and when they are gone.
const socketVariable = "HARNESS_TEST_SOCKET"

func testScenarios() []Scenario {
	return []Scenario{
		{
			Name: "tiny",
			About: `One process writes, another reads. Each message begins in a buffer of the producer and ends in a
				buffer of the consumer.

				What is measured is messages a second.`,
			Sizes:    []int{64, 4096},
			Defaults: Params{Rings: 2, Producers: 1, Duration: 400 * time.Millisecond},
			Quick:    Params{Size: 128, Rings: 1, Duration: 20 * time.Millisecond},
			Paced:    true,
			Arms: []Arm{
				{Name: "loop", Ours: true, About: "numbers that are only counted, without a second process", Block: loopBlock(1)},
				{Name: "half", About: "the same, with every number counted as half a message", Block: loopBlock(2)},
				{Name: "pipe", About: "a pipe, one write a message", Block: pipeBlock, Skip: func(p Params) string {
					if p.Size > 64 {
						return "needs small messages"
					}
					return ""
				}},
			},
		},
		{
			Name:     "bad",
			About:    "Arms that go wrong.",
			Sizes:    []int{64},
			Defaults: Params{Duration: 4 * time.Millisecond},
			Arms: []Arm{
				{Name: "good", About: "counts", Block: loopBlock(1)},
				{Name: "loses", About: "every tenth message", Block: numbersBlock(func(i uint64) uint64 { return i + i/10 })},
				{Name: "doubles", About: "every second message", Block: numbersBlock(func(i uint64) uint64 { return i / 2 })},
				{Name: "reorders", About: "two neighbours", Block: numbersBlock(func(i uint64) uint64 { return i ^ 1 })},
				{Name: "fails", About: "fails", Block: func(context.Context, Params) (Result, error) {
					fmt.Fprintln(os.Stderr, "something to know")
					return Result{}, errors.New("this went wrong")
				}},
				{Name: "panics", About: "panics", Block: func(context.Context, Params) (Result, error) {
					panic("a mistake")
				}},
				{Name: "measures-nothing", About: "no metric", Block: func(context.Context, Params) (Result, error) {
					return Result{}, nil
				}},
				{Name: "wrong-metric", About: "a metric nobody knows", Block: func(context.Context, Params) (Result, error) {
					return Result{Metrics: map[Metric]float64{"beauty": 1}}, nil
				}},
				{Name: "hangs", About: "until asked", Block: func(ctx context.Context, _ Params) (Result, error) {
					return Result{}, never(ctx)
				}},
				{Name: "deaf", About: "hangs whatever one asks", Block: func(context.Context, Params) (Result, error) {
					return Result{}, never(context.Background())
				}},
				{Name: "silent", About: "no message comes", Block: func(ctx context.Context, p Params) (Result, error) {
					w := NewWindow(p)
					w.Start(ctx)
					<-w.Done()
					return w.Result(&Check{})
				}},
				{Name: "peer-fails", About: "waits for a peer that fails", Block: func(ctx context.Context, p Params) (Result, error) {
					if _, err := StartPeer(ctx, "fails", p, nil); err != nil {
						return Result{}, err
					}
					return Result{}, never(ctx)
				}},
				{Name: "no-peer", About: "starts a peer that there is not", Block: func(ctx context.Context, p Params) (Result, error) {
					if _, err := StartPeer(ctx, "nobody", p, nil); err != nil {
						return Result{}, err
					}
					return Result{}, never(ctx)
				}},
			},
		},
		{
			Name:     "held",
			About:    "A block that waits for the end.",
			Sizes:    []int{64},
			Defaults: Params{Duration: 4 * time.Millisecond},
			Arms: []Arm{{Name: "held", About: "holds on", Block: func(ctx context.Context, p Params) (Result, error) {
				if _, err := StartPeer(ctx, "held", p, nil); err != nil {
					return Result{}, err
				}
				return Result{}, hold(ctx)
			}}},
		},
	}
}

func testPeers() map[string]Peer {
	return map[string]Peer{
		"writer": writer,
		"held":   func(ctx context.Context, _ Params, _ []string) error { return hold(ctx) },
		"fails": func(context.Context, Params, []string) error {
			return errors.New("the peer has had enough")
		},
		"echo": func(ctx context.Context, p Params, args []string) error {
			fmt.Printf("size %d, arguments %q\n", p.Size, args)
			<-ctx.Done()
			fmt.Println("asked to stop")
			return errors.New("nobody hears this")
		},
		"deaf": func(context.Context, Params, []string) error {
			fmt.Println("here")
			return never(context.Background())
		},
		"busy": func(ctx context.Context, _ Params, _ []string) error {
			for SelfCPU() < 20*time.Millisecond {
			}
			fmt.Println("busy enough")
			<-ctx.Done()
			return nil
		},
	}
}

func hold(ctx context.Context) error {
	conn, err := net.Dial("unix", os.Getenv(socketVariable))
	if err != nil {
		return err
	}
	defer conn.Close()
	return never(ctx)
}

// loopBlock counts numbers, of which so many make a message.
func loopBlock(parts int) func(context.Context, Params) (Result, error) {
	return func(ctx context.Context, p Params) (Result, error) {
		w := NewWindow(p)
		w.Start(ctx)
		var check Check
		for seq := uint64(0); ; seq++ {
			for range parts {
				SelfSwitches() // takes its time
			}
			check.See(seq)
			more := w.Add(1, p.Size)
			w.Record(time.Duration(parts) * time.Microsecond)
			if !more {
				return w.Result(&check)
			}
		}
	}
}

// numbersBlock checks the numbers that number makes of 0, 1, 2, ...
func numbersBlock(number func(uint64) uint64) func(context.Context, Params) (Result, error) {
	return func(ctx context.Context, p Params) (Result, error) {
		w := NewWindow(p)
		w.Start(ctx)
		var check Check
		for i := uint64(0); i < 100 || w.Add(1, p.Size); i++ {
			check.See(number(i))
		}
		return w.Result(&check)
	}
}

func pipeBlock(ctx context.Context, p Params) (Result, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return Result{}, err
	}
	defer r.Close()
	peer, err := StartPeer(ctx, "writer", p, []*os.File{w})
	w.Close()
	if err != nil {
		return Result{}, err
	}
	window := NewWindow(p, peer)
	window.Count(Waits, func() uint64 { return SelfSwitches() })
	window.Start(ctx)
	var check Check
	in, message := bufio.NewReader(r), make([]byte, p.Size)
	for window.Add(1, p.Size) {
		if _, err := io.ReadFull(in, message); err != nil {
			return Result{}, err
		}
		check.See(binary.NativeEndian.Uint64(message))
	}
	r.Close()
	if err := peer.Stop(); err != nil {
		return Result{}, err
	}
	return window.Result(&check)
}

// writer writes until nobody reads any longer.
func writer(_ context.Context, p Params, _ []string) error {
	out, message := os.NewFile(3, "pipe"), make([]byte, p.Size)
	for seq := uint64(0); ; seq++ {
		binary.NativeEndian.PutUint64(message, seq)
		if _, err := out.Write(message); err != nil {
			return nil
		}
	}
}
