// Command compare is the program stress with more arms: the Rust crate shmem-ipc,
// shmipc-go, and D-Bus. It also draws. These need other programs and modules, so they
// are a module of their own.
//
//	go -C stress/compare run . -h
//	go -C stress/compare run . echo
//	go -C stress/compare run . chart
package main

import (
	"maps"
	"os"

	"github.com/shmloop/shmloop/stress/harness"
	"github.com/shmloop/shmloop/stress/scenario"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "chart" {
		os.Exit(chartMain(os.Args[2:]))
	}
	harness.Main("compare", scenarios(), peers())
}

// scenarios are those of stress, with more arms.
func scenarios() []harness.Scenario {
	more := map[string][]harness.Arm{
		"echo":     append(rustEcho(), dbusEcho()...),
		"stream":   append(rustStream(), shmipcStream()...),
		"pingpong": shmipcPingPong(),
	}
	all := scenario.All()
	for i := range all {
		all[i].Arms = append(all[i].Arms, more[all[i].Name]...)
	}
	return all
}

func peers() map[string]harness.Peer {
	all := scenario.Peers()
	maps.Copy(all, shmipcPeers())
	return all
}
