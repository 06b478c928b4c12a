package harness

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// floorBudget is how long one floor is measured.
const floorBudget = 30 * time.Millisecond

// sample runs f until the budget is used, at least five times, and returns the
// first decile of the times that it returns: other work on the machine only
// makes steps slower.
func sample(f func() float64) float64 {
	f() // page faults and cold caches
	var times []float64
	for begin := time.Now(); len(times) < 5 || time.Since(begin) < floorBudget; {
		times = append(times, f())
	}
	slices.Sort(times)
	return times[len(times)/10]
}

// timeOf returns the nanoseconds that f takes, n times.
func timeOf(n int, f func()) float64 {
	begin := time.Now()
	for range n {
		f()
	}
	return float64(time.Since(begin)) / float64(n)
}

func getpidTime() (float64, error) {
	return sample(func() float64 { return timeOf(1000, getpid) }), nil
}

func eventfdWriteTime() (float64, error) {
	fd, err := newEventfd()
	if err != nil {
		return 0, err
	}
	defer closeEventfd(fd)
	return sample(func() float64 { return timeOf(1000, func() { writeEventfd(fd) }) }), nil
}

func memmoveRate(n int) (float64, error) {
	from, to := filled(n), make([]byte, n)
	copies := max(1, (4<<20)/n)
	ns := sample(func() float64 { return timeOf(copies, func() { copy(to, from) }) })
	return float64(n) * 1e9 / ns, nil
}

// filled returns memory with pages of its own: fresh memory that is only read is
// one page of zeros, over and over.
func filled(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// A line keeps a word away from others; adjacent cache lines are often fetched
// together.
type line struct {
	_ [128]byte
	atomic.Uint64
	_ [120]byte
}

// awaitValue spins until the word has the value, and is false if it gets the
// value stopped instead.
func (l *line) awaitValue(v uint64) bool {
	for {
		switch l.Load() {
		case v:
			return true
		case stopped:
			return false
		}
	}
}

const stopped = ^uint64(0)

// cacheLineBounce returns the time in which a cache line goes to another core
// and comes back, both threads spinning.
func cacheLineBounce() (ns float64, err error) {
	a, b, err := twoCores()
	if err != nil {
		return 0, err
	}
	var ball line // odd: there, even: here
	here := func() {
		n := uint64(0)
		ns = sample(func() float64 {
			return timeOf(1000, func() {
				ball.Store(n + 1)
				n += 2
				ball.awaitValue(n)
			})
		})
		ball.Store(stopped)
	}
	there := func() {
		for n := uint64(1); ball.awaitValue(n); n += 2 {
			ball.Store(n + 1)
		}
	}
	return ns, onThreads(thread{cpu: a, run: here}, thread{cpu: b, run: there})
}

// twoCoreCopyRate returns the bytes per second that get from one thread's buffer
// to another's, copied into shared memory by the one and out of it by the other.
// The shared memory stays in the caches.
func twoCoreCopyRate() (rate float64, err error) {
	const (
		message = 64 << 10
		slots   = 4
		rounds  = 16
	)
	a, b, err := twoCores()
	if err != nil {
		return 0, err
	}
	shared := make([]byte, slots*message)
	slot := func(n uint64) []byte { return shared[n%slots*message:][:message] }
	var in, out line // messages copied
	write := func() {
		from := filled(message)
		for n := uint64(0); ; n++ {
			for n-out.Load() >= slots {
				if out.Load() == stopped {
					return
				}
			}
			copy(slot(n), from)
			in.Store(n + 1)
		}
	}
	read := func() {
		to := make([]byte, message)
		n := uint64(0)
		ns := sample(func() float64 {
			return timeOf(rounds, func() {
				for in.Load() == n {
				}
				copy(to, slot(n))
				n++
				out.Store(n)
			})
		})
		rate = message * 1e9 / ns
		out.Store(stopped)
	}
	err = onThreads(thread{cpu: a, run: write}, thread{cpu: b, run: read})
	return rate, err
}

// wakeTime returns the time from a write to an eventfd until a thread on another
// CPU, which waits for it, runs. That CPU is either idle, or busy with a thread
// that gives way at once.
func wakeTime(busy bool) (ns float64, err error) {
	a, b, err := twoCores()
	if err != nil {
		return 0, err
	}
	fd, err := newEventfd()
	if err != nil {
		return 0, err
	}
	defer closeEventfd(fd)
	// Long enough for the CPU to fall asleep, which may poll for a while before.
	rest := 500 * time.Microsecond
	if busy {
		rest = 50 * time.Microsecond
	}
	start := time.Now()
	var woken line // when, in nanoseconds since start
	var over atomic.Bool
	waker := func() {
		ns = sample(func() float64 {
			for begin := time.Now(); time.Since(begin) < rest; {
			}
			woken.Store(0)
			from := time.Since(start)
			writeEventfd(fd)
			for woken.Load() == 0 {
			}
			return float64(woken.Load()) - float64(from)
		})
		over.Store(true)
		writeEventfd(fd)
	}
	sleeper := func() {
		for !over.Load() {
			readEventfd(fd)
			woken.Store(uint64(time.Since(start)))
		}
	}
	threads := []thread{{cpu: a, run: waker}, {cpu: b, run: sleeper}}
	if busy {
		threads = append(threads, thread{cpu: b, idle: true, run: func() {
			for !over.Load() {
			}
		}})
	}
	err = onThreads(threads...)
	return ns, err
}

// A thread runs on one CPU, with idle only when nothing else wants to.
type thread struct {
	cpu  int
	idle bool
	run  func()
}

// onThreads runs all of them at once and returns when they have ended. If one
// cannot be set up none runs.
func onThreads(threads ...thread) error {
	var wg sync.WaitGroup
	ready, run := make(chan error), make(chan bool)
	for _, t := range threads {
		wg.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with this
			ready <- setUpThread(t.cpu, t.idle)
			if <-run {
				t.run()
			}
		})
	}
	var errs []error
	for range threads {
		errs = append(errs, <-ready)
	}
	err := errors.Join(errs...)
	for range threads {
		run <- err == nil
	}
	wg.Wait()
	return err
}

// twoCores returns two CPUs of this process that are not threads of one core, if
// there are such.
func twoCores() (a, b int, err error) {
	cpus, err := allowedCPUs()
	if err != nil {
		return 0, 0, err
	}
	if len(cpus) < 2 {
		return 0, 0, errors.New("needs two CPUs")
	}
	for _, b := range cpus[1:] {
		if coreOf(b) != coreOf(cpus[0]) {
			return cpus[0], b, nil
		}
	}
	return cpus[0], cpus[1], nil
}

// coreOf names the core of a CPU: the list of its CPUs. Without the file each
// CPU passes for a core.
func coreOf(cpu int) string {
	b, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu))
	if err != nil {
		return strconv.Itoa(cpu)
	}
	return string(b)
}
