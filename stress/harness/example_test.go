package harness_test

import (
	"context"
	"fmt"
	"time"

	"github.com/shmloop/shmloop/stress/harness"
)

func ExampleCheck() {
	var check harness.Check
	for _, seq := range []uint64{0, 1, 4, 3, 3} {
		check.See(seq)
	}
	fmt.Println(check.Lost, "lost,", check.Duplicated, "duplicated,", check.Reordered, "reordered")
	// Output: 1 lost, 1 duplicated, 1 reordered
}

// A consumer of one goroutine; the channel stands for what it receives from.
func ExampleWindow() {
	numbers := make(chan uint64, 64)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for n := uint64(0); ctx.Err() == nil; n++ {
			select {
			case numbers <- n:
			case <-ctx.Done():
			}
		}
	}()

	var check harness.Check
	window := harness.NewWindow(harness.Params{Size: 8, Duration: 10 * time.Millisecond})
	window.Start(ctx)
	for more := true; more; more = window.Add(1, 8) {
		check.See(<-numbers)
	}
	result, err := window.Result(&check)
	fmt.Println(err, result.Metrics[harness.MessagesPerSecond] > 0, result.Lost)
	// Output: <nil> true 0
}
