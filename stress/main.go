// Command stress measures rings against other ways to move messages, in one run
// of alternating blocks, and prints ratios.
//
//	go run ./stress -h
//	go run ./stress stream
//	go run ./stress fanin -rings 1000 -arms reactor,goroutine -json fanin.json
package main

import (
	"github.com/shmloop/shmloop/stress/harness"
	"github.com/shmloop/shmloop/stress/scenario"
)

func main() { harness.Main("stress", scenario.All(), scenario.Peers()) }
