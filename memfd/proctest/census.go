package proctest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Census counts what this process holds. Compare two of them within a test
// that does not run in parallel with others.
type Census struct {
	FDs        int // open descriptors
	Mappings   int // mappings of memfds, as in /proc/self/maps
	Goroutines int // without the runtime's own
	Threads    int // of the operating system; the runtime keeps idle ones
}

// Take counts now, without waiting for anything and without a collection of
// garbage: a goroutine that is about to return is still counted. It panics if
// /proc cannot be read, because no count may pass for a good one.
func Take() Census {
	h, err := takeHoldings()
	if err != nil {
		panic(fmt.Sprintf("proctest: %v", err))
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		panic(fmt.Sprintf("proctest: count threads: %v", err))
	}
	return Census{
		FDs:        len(h.fds),
		Mappings:   len(h.mappings),
		Goroutines: len(h.goroutines),
		Threads:    len(threads),
	}
}

// holdings are the things behind a Census: a name for each, and more about it
// for the person who has to find the leak.
type holdings struct {
	fds        map[string]string // "7 -> /memfd:x (deleted)": empty
	mappings   map[string]string // line of /proc/self/maps: empty
	goroutines map[string]string // "goroutine 7": its stack
}

// The Go netpoller makes its epoll and its eventfd with the first file that
// it watches. Made before the first count, they are never taken for a leak.
var warmUp = sync.OnceValue(func() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	return r.SetReadDeadline(time.Now())
})

func takeHoldings() (holdings, error) {
	if err := warmUp(); err != nil {
		return holdings{}, fmt.Errorf("warm up the netpoller: %w", err)
	}
	fds, err := openFDs()
	if err != nil {
		return holdings{}, fmt.Errorf("list descriptors: %w", err)
	}
	mappings, err := memfdMappings()
	if err != nil {
		return holdings{}, fmt.Errorf("list mappings: %w", err)
	}
	return holdings{fds: fds, mappings: mappings, goroutines: goroutines()}, nil
}

// since lists, for people, what h holds and before did not.
func (h holdings) since(before holdings) []string {
	var leaks []string
	leaks = appendNew(leaks, "descriptor", h.fds, before.fds)
	leaks = appendNew(leaks, "mapping", h.mappings, before.mappings)
	leaks = appendNew(leaks, "goroutine", h.goroutines, before.goroutines)
	return leaks
}

func appendNew(leaks []string, kind string, now, before map[string]string) []string {
	var names []string
	for name := range now {
		if _, ok := before[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		leaks = append(leaks, strings.TrimRight(kind+": "+name+"\n"+now[name], "\n"))
	}
	return leaks
}

func openFDs() (map[string]string, error) {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	fds := make(map[string]string, len(entries))
	for _, e := range entries {
		link, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // closed since, such as the one that read the directory
		}
		fds[e.Name()+" -> "+link] = ""
	}
	return fds, nil
}

func memfdMappings() (map[string]string, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	mappings := make(map[string]string)
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "/memfd:") {
			mappings[strings.TrimSuffix(line, "\n")] = ""
		}
	}
	return mappings, nil
}

func goroutines() map[string]string {
	buf := make([]byte, 64<<10)
	n := runtime.Stack(buf, true)
	for n == len(buf) {
		buf = make([]byte, 2*len(buf))
		n = runtime.Stack(buf, true)
	}
	found := make(map[string]string)
	for stack := range strings.SplitSeq(string(buf[:n]), "\n\n") {
		if strings.Contains(stack, "\nos/signal.loop(") {
			continue // started once by signal.Notify, never ends
		}
		name, _, _ := strings.Cut(stack, " [")
		found[name] = stack
	}
	return found
}
