// Package scenario holds what stress measures: the scenarios and their arms, one file
// a scenario, and one an arm that several of them share.
package scenario

import (
	"maps"

	"github.com/shmloop/shmloop/stress/harness"
)

// All returns the scenarios.
func All() []harness.Scenario {
	return []harness.Scenario{echo(), stream(), pingpong(), fanin(), idle(), mixed(), chaos()}
}

// Peers returns the main functions of the processes that the scenarios start.
func Peers() map[string]harness.Peer {
	peers := map[string]harness.Peer{StreamPeer: produce, pongPeer: pong}
	maps.Copy(peers, loadPeers())
	return peers
}
