package ringbuf_test

import (
	"fmt"
	"testing"
)

// BenchmarkTwoGoroutines moves 8-byte items between two goroutines, a batch a call.
// ns/op is the time for one item.
func BenchmarkTwoGoroutines(b *testing.B) {
	for _, batch := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			tx, rx, _ := newRing[uint64](b, 4096, 1)
			b.ReportAllocs()
			b.SetBytes(8)
			b.ResetTimer()
			go func() {
				src := make([]uint64, batch)
				for left := b.N; left > 0; {
					n, _, err := tx.Send(src[:min(batch, left)])
					if err != nil {
						b.Error(err)
						return
					}
					if left -= n; n == 0 {
						spin()
					}
				}
			}()
			dst := make([]uint64, batch)
			for left := b.N; left > 0; {
				n, _, err := rx.Receive(dst[:min(batch, left)])
				if err != nil {
					b.Fatal(err)
				}
				if left -= n; n == 0 {
					spin()
				}
			}
		})
	}
}

// BenchmarkOneGoroutine sends and receives a batch in turn: the price of the calls
// without a second core. ns/op is the time for one batch.
func BenchmarkOneGoroutine(b *testing.B) {
	for _, batch := range []int{1, 16, 256} {
		for _, hold := range []int{0, 1} {
			b.Run(fmt.Sprintf("batch=%d/hold=%d", batch, hold), func(b *testing.B) {
				tx, rx, _ := newRing[uint64](b, 4096, hold)
				buf := make([]uint64, batch)
				b.ReportAllocs()
				for range b.N {
					if n, _, err := tx.Send(buf); n != batch || err != nil {
						b.Fatal(n, err)
					}
					if n, _, err := rx.Receive(buf); n != batch || err != nil {
						b.Fatal(n, err)
					}
				}
			})
		}
	}
}
