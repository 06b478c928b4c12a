// Package sharedring is one end of a ring in this process: a [Sender] or a
// [Receiver] of items over memory shared with another process, with two eventfds
// or pairs of sockets as doorbells. The two processes need not trust each other. The wire is that of
// the Rust crate shmem-ipc 0.3, byte for byte; docs/PROTOCOL.md describes it.
//
// # Making and sharing a ring
//
// Either side makes a ring, with [NewSender] or [NewReceiver], and gives the other
// a [Handle]: the capacity and three descriptors, sent over a unix socket (package
// handoff does it), by inheritance, or over D-Bus. The other side calls
// [OpenReceiver] or [OpenSender] with it and the same item type. A ring serves one
// sender and one receiver for one life: it cannot be opened again after one of
// them ended.
//
// Doorbells are eventfds by default, which both sides share. With
// [WithSocketDoorbells] each side has its own ends of two pairs of sockets. Choose
// them to be told of the peer's death by the ring itself, or where there is no AIO
// context to be had (see [TrustPeer]); then the side that trusts the other less makes
// the ring.
//
// # Waiting
//
// Calls with a context wait, first by polling for a few microseconds, then parked in
// Go's netpoller, where they hold no thread.
//
// Calls without a context never wait. Who waits for FD in an event loop of his own
// calls Arm first, each time: while an end is awake it keeps the peer from ringing,
// and Arm gives that up and says whether there is something to do after all.
//
//	for {
//		n, err := rx.Receive(buf) // until it returns 0, then
//		pending, err := rx.Arm()  // false: now wait for an edge of rx.FD()
//	}
//
// To service many ends on few goroutines, register them in an event loop: both
// ends have the FD, Pending and Arm that package reactor asks for.
//
// # Ends
//
// The memory cannot tell that a peer ended, and an eventfd cannot either. Whoever
// watches the peer (a socket's end of file, a pidfd) calls HangUp. Socket doorbells do
// tell: Arm, and so every call that waits, takes a peer that called Close for ended
// well, and one whose sockets were closed without that for dead. Peers of the Rust crate
// say no farewell, so they always count as dead. The death of a peer is not seen while
// a forked child of it holds its descriptors.
package sharedring
