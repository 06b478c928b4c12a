//go:build linux

package sharedring_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

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
func BenchmarkWake(b *testing.B) {
	there, here := pair[uint64](b, 1)
	back, home := pair[uint64](b, 1)
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
