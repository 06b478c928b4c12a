package gnetring

import (
	"bytes"
	"runtime"
	"strconv"
)

// goroutineID returns the number that the runtime shows in a stack trace
// ("goroutine 7 [running]:"), which is never used again in a process. It takes some
// microseconds. Close needs it: on gnet's own goroutine it must not wait for that
// goroutine, and Go has no other way to ask who calls.
func goroutineID() uint64 {
	var buf [64]byte
	head := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	number, _, _ := bytes.Cut(head, []byte(" "))
	id, _ := strconv.ParseUint(string(number), 10, 64) // 0, nobody's, if the runtime changes its words
	return id
}
