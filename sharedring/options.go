package sharedring

import "github.com/shmloop/shmloop/memfd"

// Option changes how an end is made. The zero set of options is meant for use:
// prefaulted memory, few doorbells, safe against a hostile peer.
type Option func(*config)

type config struct {
	hold       int
	lock       bool
	noPrefault bool
	trusted    bool
	memory     []memfd.Option
}

func newConfig(opts []Option) config {
	c := config{hold: 1}
	for _, o := range opts {
		o(&c)
	}
	return c
}

// WithHold sets how far this end goes to spare doorbells while it is awake. A
// receiver leaves that many consumed items unreleased, so the sender never finds
// the ring empty; a sender keeps one slot free if items is not 0, so the receiver
// never finds it full. The default is 1. With 0 the end signals as the Rust crate
// does, at every change from empty and from full.
func WithHold(items int) Option { return func(c *config) { c.hold = items } }

// WithMlock locks the ring's memory, so that it is never swapped out. It counts
// against RLIMIT_MEMLOCK (mlock(2)).
func WithMlock() Option { return func(c *config) { c.lock = true } }

// WithHugePages makes the memory of a new ring from huge pages of that size, which
// must be reserved (the kernel's Documentation/admin-guide/mm/hugetlbpage.rst). It
// is for who makes the ring; an end that opens one needs no option.
func WithHugePages(size memfd.HugePageSize) Option {
	return func(c *config) { c.memory = append(c.memory, memfd.WithHugePages(size)) }
}

// WithoutPrefault leaves the memory's pages to be allocated at first use: cheaper
// to set up, slower in the first round, and the allocation can fail in the middle
// of a copy.
func WithoutPrefault() Option { return func(c *config) { c.noPrefault = true } }

// TrustPeer rings the peer's doorbell with a plain write(2), at about a third of
// the price. A peer that shares an eventfd can make such a write block for as
// long as it likes: it clears O_NONBLOCK and fills the counter. Use it for peers
// of the same trust only.
func TrustPeer() Option { return func(c *config) { c.trusted = true } }
