// Package handoff gives rings to another process over a unix stream socket.
//
// A client asks with [Dial] for a ring, or for one each way; a server makes them
// and answers with their descriptors ([Listen], [Listener.Accept]). Each side then
// takes its ends from the [Conn] with [Conn.In] and [Conn.Out] and opens them with
// package sharedring.
//
// The socket stays open as the lifeline. [Conn.Close] says farewell on it, so the
// other side can tell a clean end from a crash, and a pidfd beside it tells of a
// death even while a forked child of the dead process holds the socket. Watch them
// with [Conn.Wait] on a goroutine, or add [Conn.FD] and [Conn.PidFD] to an event
// loop and call [Conn.Check]. Tell the ring ends with HangUp.
//
// The server trusts no client: it knows each by the credentials that the kernel
// took when it connected, asks its policy before it reads a byte, bounds rings,
// bytes and unfinished handshakes, and never lets a descriptor of a client into
// its table. A client counts what it gets; whether the descriptors are what they
// should be is checked when an end is opened.
//
// # Descriptors
//
// A Conn holds the lifeline and, where the kernel has them, a pidfd; [Conn.Wait]
// takes one more when it is first used. A ring is three descriptors, which belong
// to the Conn until In or Out hands them to the caller. So a connection with one
// ring costs at most 5 on each side (6 with Wait), a duplex one 8 (9 with Wait),
// and a listener 2. All are close-on-exec.
//
// Package handoff works on Linux. On other systems Dial and Listen return an error
// that matches [errors.ErrUnsupported].
package handoff
