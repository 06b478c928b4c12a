//go:build !linux

package main

import (
	"errors"
	"fmt"
)

const anyCPU = -1

func lastCPU() (int, error) {
	return 0, fmt.Errorf("CPUs of a process: %w", errors.ErrUnsupported)
}

func pinProcess(int) error {
	return fmt.Errorf("binding to a CPU: %w", errors.ErrUnsupported)
}
