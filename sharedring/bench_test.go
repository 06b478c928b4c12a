//go:build linux

package sharedring_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/sharedring"
)

// BenchmarkDoorbell is one Signal, to a peer that is not waiting.
func BenchmarkDoorbell(b *testing.B) {
	for name, opts := range map[string][]sharedring.Option{
		"guarded": nil,
		"trusted": {sharedring.TrustPeer()},
	} {
		b.Run(name, func(b *testing.B) {
			tx, _ := pair[uint64](b, 100, opts...)
			b.ReportAllocs()
			for range b.N {
				if err := tx.Signal(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSocketDoorbell is one Signal to a peer that takes the bells off every 64
// times, which is not counted, and what it costs the peer to Arm with no bell and with
// one, the latter with the Signal.
func BenchmarkSocketDoorbell(b *testing.B) {
	b.Run("ring", func(b *testing.B) {
		tx, rx := pair[uint64](b, 100, sharedring.WithSocketDoorbells())
		b.ReportAllocs()
		for i := range b.N {
			if i%64 == 0 {
				b.StopTimer()
				_, err := rx.Arm()
				require.NoError(b, err)
				b.StartTimer()
			}
			if err := tx.Signal(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, bells := range map[string]int{"arm": 0, "ring+arm": 1} {
		b.Run(name, func(b *testing.B) {
			tx, rx := pair[uint64](b, 100, sharedring.WithSocketDoorbells())
			b.ReportAllocs()
			for range b.N {
				for range bells {
					if err := tx.Signal(); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := rx.Arm(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEcho sends and receives one item in turn on one goroutine, with few
// doorbells and with one for every item.
func BenchmarkEcho(b *testing.B) {
	for name, opts := range map[string][]sharedring.Option{
		"held":     nil,
		"doorbell": {sharedring.WithHold(0), sharedring.TrustPeer()},
	} {
		b.Run(name, func(b *testing.B) {
			tx, rx := pair[uint64](b, 1000, opts...)
			buf := make([]uint64, 1)
			b.ReportAllocs()
			for range b.N {
				if n, err := tx.Send(buf); n != 1 || err != nil {
					b.Fatal(n, err)
				}
				if n, err := rx.Receive(buf); n != 1 || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// BenchmarkWake is a round trip between two goroutines that both wait.
func BenchmarkWake(b *testing.B) { benchmarkWake(b) }

// BenchmarkSocketWake is the same with socket doorbells.
func BenchmarkSocketWake(b *testing.B) { benchmarkWake(b, sharedring.WithSocketDoorbells()) }

// BenchmarkEdge is a round trip between two threads that wait in epoll_wait(2), without
// Go's scheduler in between.
func BenchmarkEdge(b *testing.B) {
	for name, opts := range map[string][]sharedring.Option{
		"guarded": nil,
		"trusted": {sharedring.TrustPeer()},
		"socket":  {sharedring.WithSocketDoorbells()},
	} {
		b.Run(name, func(b *testing.B) {
			there, here := pair[uint64](b, 1, opts...)
			back, home := pair[uint64](b, 1, opts...)
			done := make(chan error)
			rounds := b.N
			turn := func(tx *sharedring.Sender[uint64], rx *sharedring.Receiver[uint64], ep int, sends bool) error {
				buf := make([]uint64, 1)
				var events [1]unix.EpollEvent
				for range rounds {
					if sends {
						if _, err := tx.Send(buf); err != nil {
							return err
						}
					}
					for {
						n, err := rx.Receive(buf)
						if n > 0 {
							break
						}
						pending, armErr := rx.Arm()
						if err := errors.Join(err, armErr); err != nil {
							return err
						}
						if !pending {
							_, _ = unix.EpollWait(ep, events[:], -1) // EINTR is a spurious edge
						}
					}
					if !sends {
						if _, err := tx.Send(buf); err != nil {
							return err
						}
					}
				}
				return nil
			}
			far, near := watch(b, here.FD()), watch(b, home.FD())
			b.ReportAllocs()
			b.ResetTimer()
			go func() { done <- turn(back, here, far, false) }()
			err := turn(there, home, near, true)
			require.NoError(b, errors.Join(err, <-done))
		})
	}
}

func benchmarkWake(b *testing.B, opts ...sharedring.Option) {
	there, here := pair[uint64](b, 1, opts...)
	back, home := pair[uint64](b, 1, opts...)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]uint64, 1)
		for {
			if _, err := here.ReceiveContext(ctx, buf); err != nil {
				return
			}
			if _, err := back.SendContext(ctx, buf); err != nil {
				return
			}
		}
	}()
	buf := make([]uint64, 1)
	b.ReportAllocs()
	for range b.N {
		_, err := there.SendContext(ctx, buf)
		require.NoError(b, err)
		_, err = home.ReceiveContext(ctx, buf)
		require.NoError(b, err)
	}
	cancel()
	<-done
}
