//go:build !linux

package scenario

import "time"

func exactNaps() {}

func nap(d time.Duration) { time.Sleep(d) }
