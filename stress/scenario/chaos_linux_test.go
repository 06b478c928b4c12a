package scenario

import "testing"

// Clients are killed, stopped and continued at any time, others attack: those that keep
// the rules lose nothing, all is noticed, and nothing is left over.
func TestFault55Chaos(t *testing.T) {
	runArms(t, chaos(), 0, "-rings", "6", "-producers", "2", "-rate", "5000", "-duration", "1s")
}
