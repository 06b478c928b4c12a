// Package waiting holds no code but a benchmark: it compares the ways in which a
// goroutine can wait for the doorbells of many rings that other processes send on.
// docs/DESIGN.md has its table and what follows from it.
package waiting
