package memfd_test

import (
	"fmt"
	"log"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/shmloop/shmloop/memfd"
)

// Memory that two sides write. The descriptor would travel over a unix socket.
func Example() {
	mine, err := memfd.Create("example", 4096)
	if err != nil {
		log.Fatal(err)
	}
	defer mine.Close()
	fd, err := unix.FcntlInt(uintptr(mine.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}

	// The other side trusts nothing about what it was given.
	theirs, err := memfd.Open(fd)
	if err != nil {
		log.Fatal(err)
	}
	defer theirs.Close()

	a, err := mine.Map(4096)
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	b, err := theirs.Map(4096)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	copy(a.Bytes(), "hello")
	fmt.Printf("%s\n", b.Bytes()[:5])
	// Output: hello
}

func ExampleWriteOnce() {
	f, err := memfd.WriteOnce("table", 4096, func(b []byte) error {
		copy(b, "for ever")
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	m, err := f.MapReadOnly(4096)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	fmt.Printf("%s\n", m.Bytes()[:8])

	_, err = f.Map(4096)
	fmt.Println("writing is over:", err != nil)
	// Output:
	// for ever
	// writing is over: true
}

func ExampleFile() {
	f, err := memfd.Create("example", 10_000)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	fmt.Println(f.Size(), "bytes")
	fmt.Println("can shrink:", unix.Ftruncate(f.FD(), 0) == nil)
	// Output:
	// 10000 bytes
	// can shrink: false
}

func ExampleSeals() {
	f, err := memfd.Create("example", 4096)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	seals, err := f.Seals()
	if err != nil {
		log.Fatal(err)
	}
	// The kernel decides about EXEC by its version.
	fmt.Println(seals &^ memfd.SealExec)
	fmt.Println(seals.Has(memfd.SealWrite))
	// Output:
	// SEAL|SHRINK|GROW
	// false
}

// A slice that is used after Close reads zeroes and reaches nobody.
func ExampleMapping_Close() {
	f, err := memfd.Create("example", 4096)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	m, err := f.Map(4096)
	if err != nil {
		log.Fatal(err)
	}
	b := m.Bytes()
	b[0] = 7
	if err := m.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(b[0])
	runtime.KeepAlive(m) // b needs it
	// Output: 0
}
