package scenario

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/stress/harness"
)

const lossyPeer = "lossy"

func testPeers() map[string]harness.Peer {
	peers := Peers()
	maps.Copy(peers, map[string]harness.Peer{lossyPeer: lossyProducer})
	return peers
}

// lossy has an arm for each mistake of a producer.
func lossy() harness.Scenario {
	s := harness.Scenario{Name: "lossy", About: "Mistakes.", Sizes: []int{64}, Defaults: harness.Params{Duration: time.Millisecond}}
	for _, mistake := range []string{"lost", "tail", "duplicated", "reordered"} {
		s.Arms = append(s.Arms, harness.Arm{Name: mistake, About: mistake, Block: func(ctx context.Context, p harness.Params) (harness.Result, error) {
			rx, fds, err := newByteRing(StreamRing)
			if err != nil {
				return harness.Result{}, err
			}
			var files []*os.File
			for _, fd := range fds {
				files = append(files, os.NewFile(uintptr(fd), "ring"))
			}
			peer, err := harness.StartPeer(ctx, lossyPeer, p, files, mistake)
			for _, f := range files {
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				return harness.Result{}, err
			}
			return StreamReceive(ctx, p, rx, peer)
		}})
	}
	return s
}

func lossyProducer(ctx context.Context, p harness.Params, args []string) error {
	tx, err := sharedring.OpenSender[byte](inherited(0, StreamRing), trusting)
	if err != nil {
		return err
	}
	m := message(p.Size)
	sent := uint64(0)
	for ; ctx.Err() == nil && err == nil; sent++ {
		seq := sent
		switch args[0] {
		case "lost":
			seq += sent / 10
		case "duplicated":
			seq /= 2
		case "reordered":
			seq ^= 1
		}
		binary.NativeEndian.PutUint64(m, seq)
		_, err = tx.SendContext(ctx, m)
	}
	if args[0] == "tail" {
		sent++
	}
	fmt.Println(sent, tx.Doorbells())
	return tx.Close()
}
