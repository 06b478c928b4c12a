// Package reactor services many ring ends and descriptors from one goroutine.
//
// A [Loop] is one epoll instance and one goroutine. [Loop.Attach] gives it one
// end of a ring, by way of the small [Source] interface; [Loop.Register] gives
// it a socket, a pipe, a timerfd or a pidfd; [Loop.Post] gives it a function.
// All callbacks run on the goroutine that is in [Loop.Run], or, when a host has
// its own loop, in [Loop.Poll]; if neither is active, in [Loop.Close]. Never two run
// at once, so they need no lock between them. A [Guest] is a loop inside an event
// loop of another kind, its [Host].
//
// # Turns
//
// A registration is idle, queued or running. An edge queues it; one Ready
// callback is one turn; afterwards it goes to the tail of the queue if there is
// more to do, and to sleep if not. A round gives descriptors their turns first and
// then, for about 200 us, rings; after that the loop looks at all descriptors again.
// So a ring that never runs dry does not hold up a socket, nor one ring another.
//
// What one turn may take is up to Ready. With Receive(buf) the length of buf is the
// budget: in items, and times their size in bytes. Some tens of microseconds' worth
// keeps the loop fair, and 16 to 64 KiB stay in a core's cache.
//
// A doorbell is waited on edge-triggered and never read: each write is an edge
// of its own (the kernel's eventfd and unix sockets behave so), and a read could
// block on a descriptor that a peer shares.
//
// # Goroutines
//
// Attach, Register, Post, Close and all methods of a [Registration] may be
// called from any goroutine, also inside callbacks, and none of them waits for
// an epoll_wait to end. A callback may start before Attach or Register returns.
// Who wants the [Registration] inside the callback calls Attach on the loop: in
// another callback or a Post.
//
// # Descriptors
//
// The loop borrows the descriptors given to it and closes none of them. They
// have to stay open until [Registration.Close] returned or [Handler.Closed] was
// called. A doorbell closed earlier stays in the epoll set for as long as the
// peer's copy lives (epoll(7), "Questions and answers").
//
// Linux only. On other systems [NewLoop] returns an error that matches
// [errors.ErrUnsupported].
package reactor
