package sharedring

import "github.com/shmloop/shmloop/memfd"

// Option changes how an end is made. The defaults are prefaulted memory, few
// doorbells, and doorbells that a hostile peer cannot block.
type Option func(*config)

type config struct {
	hold       int
	lock       bool
	noPrefault bool
	trusted    bool
	sockets    bool
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
// must be reserved (the kernel's Documentation/admin-guide/mm/hugetlbpage.rst). An
// end that opens a ring made of huge pages of any size needs the option too, and has
// to trust the peer: a hole punched into such pages can make a later touch fatal.
func WithHugePages(size memfd.HugePageSize) Option {
	return func(c *config) { c.memory = append(c.memory, memfd.WithHugePages(size)) }
}

// WithSocketDoorbells makes the doorbells of a new ring from two pairs of connected
// unix stream sockets instead of eventfds. Of each pair the side that rings has one
// end and the side that waits the other, so each side needs a [Handle] of its own: see
// [Sender.Handle] and [CreatePair]. To open such a ring takes no option.
//
//   - The ring itself tells of the peer's end: Arm sees a clean one if the peer called
//     Close, else [ErrPeerGone], as if by HangUp.
//   - Nothing that the peer does to its ends changes the flags of these, and ringing
//     cannot be made to block. No AIO context is needed.
//   - They work in event loops that know only connections; see Heard.
//
// To ring one costs about as much as the eventfd of a peer that is not trusted. To be
// woken costs three more system calls in Arm. The side that trusts the other less should
// make the ring; [TrustPeer] says why.
func WithSocketDoorbells() Option { return func(c *config) { c.sockets = true } }

// WithoutPrefault leaves the memory's pages to be allocated at first use: cheaper
// to set up, slower in the first round, and the allocation can fail in the middle
// of a copy.
func WithoutPrefault() Option { return func(c *config) { c.noPrefault = true } }

// TrustPeer rings the peer's doorbell with a plain write(2), at a half to a third of
// the price. Without it the process needs one AIO context (io_setup(2)), and making
// or opening a ring fails where there is none. A peer that shares an eventfd can make
// such a write block for as long as it likes: it clears O_NONBLOCK and fills the
// counter. Use it for peers of the same trust only.
//
// Sockets are rung alike with and without it. But who made the socket that this end
// waits on, and kept a copy, can hold up an Arm for as long as it likes: recv(2), also
// one that must not wait, waits for other readers of the same socket. So without
// TrustPeer a ring with socket doorbells is opened only if a process of root or of this
// one's effective uid made the pair, which could stop this process anyhow. The error
// matches [ErrDoorbell].
func TrustPeer() Option { return func(c *config) { c.trusted = true } }
