package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"syscall"

	"github.com/shmloop/shmloop/stress/harness"
)

// A link is a way for bytes between two processes: the one that measures, which has
// the near end, and its peer, which inherits the far end.
type link struct {
	name, about string
	ours        bool
	place       placement
	skip        func(p harness.Params) string

	open func(ctx context.Context) (near *end, far []int, err error) // far: descriptors of the other end
	dial func(ctx context.Context) (far *end, err error)             // in the peer: they are 3, 4, ... there
}

// end is one end of a link.
type end struct {
	io.Reader // nil where bytes only leave
	io.Writer // nil where bytes only come
	flush     func() error
	hangUp    func() // ends a Read in progress, where the other side's end does not
	doorbells func() uint64
	close     func() error
}

// firstFile is the first descriptor that a peer inherits.
const firstFile = 3

// connect starts the peer of a link. Close the end and then stop the peer.
func (l link) connect(ctx context.Context, p harness.Params, peer string) (*end, *harness.PeerProcess, error) {
	here, there, err := l.place.cpus()
	if err != nil {
		return nil, nil, err
	}
	near, far, err := l.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	var files []*os.File
	for _, fd := range far {
		files = append(files, os.NewFile(uintptr(fd), l.name))
	}
	process, err := harness.StartPeer(ctx, peer, p, files, l.name, fmt.Sprint(there))
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		err = ownThread(here)
	}
	if err != nil {
		return nil, nil, errors.Join(err, near.close())
	}
	near.endWith(ctx)
	return near, process, nil
}

// accept is the peer's side of connect.
func accept(ctx context.Context, links []link, args []string) (*end, error) {
	i := slices.IndexFunc(links, func(l link) bool { return l.name == args[0] })
	if i < 0 {
		return nil, fmt.Errorf("scenario: no link %q", args[0])
	}
	var cpu int
	if _, err := fmt.Sscan(args[1], &cpu); err != nil {
		return nil, fmt.Errorf("scenario: CPU %q: %w", args[1], err)
	}
	if err := ownThread(cpu); err != nil {
		return nil, err
	}
	far, err := links[i].dial(ctx)
	if err != nil {
		return nil, err
	}
	far.endWith(ctx)
	return far, nil
}

// endWith ends calls in progress when ctx does.
func (e *end) endWith(ctx context.Context) {
	if e.hangUp != nil {
		context.AfterFunc(ctx, e.hangUp)
	}
}

// count adds the doorbells of this end to what w measures.
func (e *end) count(w *harness.Window) {
	if e.doorbells != nil {
		w.Count(harness.Doorbells, e.doorbells)
	}
}

// rung returns the doorbells of this end so far.
func (e *end) rung() uint64 {
	if e.doorbells == nil {
		return 0
	}
	return e.doorbells()
}

// over tells whether err is an end as it should be: the other side has had enough, or
// the starter of this process.
func over(err error) bool {
	return err == io.EOF || errors.Is(err, context.Canceled) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// A placement says on which CPUs the two processes of a link run.
type placement int

const (
	anywhere placement = iota // where the kernel wants
	together                  // both on one
)

// anyCPU stands for all of them.
const anyCPU = -1

// cpus returns the CPU for each side.
func (p placement) cpus() (here, there int, err error) {
	if p == anywhere {
		return anyCPU, anyCPU, nil
	}
	cpus, err := allowedCPUs()
	if err != nil {
		return 0, 0, err
	}
	last := cpus[len(cpus)-1]
	return last, last, nil
}

// ownThread ties the calling goroutine to its thread, and that to a CPU. System calls
// that block keep their processor (see rawRead), so there is another for the rest of
// the program.
func ownThread(cpu int) error {
	runtime.LockOSThread()
	runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0)))
	if cpu == anyCPU {
		return nil
	}
	return pin(cpu)
}

// oneCPU is why spinning arms sit a machine out.
func oneCPU(harness.Params) string {
	if runtime.NumCPU() < 2 {
		return "two processes that spin need two CPUs"
	}
	return ""
}
