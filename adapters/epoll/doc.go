// Package epoll services rings inside an epoll loop that a program has already. Callbacks
// of rings and of the program's sockets then run on one goroutine, with no lock
// between them.
//
// There are two ways. A [Direct] puts each doorbell into the program's epoll set, and
// polls rings that were busy a moment ago, which need no doorbells then. It is the
// faster way. The loop asks it how long to wait:
//
//	rings, err := epoll.NewDirect(epfd)
//	for {
//		n, err := unix.EpollWait(epfd, events, rings.Timeout(-1))
//		if err != nil && err != unix.EINTR {
//			return err
//		}
//		for i := range max(n, 0) {
//			if rings.Dispatch(&events[i]) {
//				continue
//			}
//			... // a socket of the program's own
//		}
//		if err := rings.Turn(); err != nil {
//			return err // reactor.ErrClosed after rings.Close
//		}
//	}
//
// A [Nested] is a whole reactor.Loop, with timers and descriptors of its own, behind one
// descriptor in the program's set. Here Dispatch does the work:
//
//	rings, err := epoll.NewNested(epfd)
//	for {
//		n, err := unix.EpollWait(epfd, events, -1)
//		if err != nil && err != unix.EINTR {
//			return err
//		}
//		for i := range max(n, 0) {
//			if rings.Dispatch(&events[i]) {
//				continue
//			}
//			...
//		}
//	}
//
// A host that shows no epoll descriptor of its own (gnet's netpoll.Poller, a GLib main
// loop, Go's netpoller) needs neither: it waits for input on reactor.Loop.FD, as for
// any descriptor, and then calls reactor.Loop.Poll(0).
//
// # What the host does
//
// It hands every event of an epoll_wait to Dispatch: a doorbell's edge is told
// only once. It keeps clear of [DirectTag] and [NestedTag] in the data of its own
// descriptors; that comes by itself where the datum is a descriptor or a pointer. And it
// yields (runtime.Gosched) before a wait that may block, because Go gives its processor
// to others only after a while, and goroutines that a callback made ready would wait
// for it; Direct.Turn does so itself.
//
// # Time
//
// A round gives one turn, a call of Ready, to each ring that is due, and ends after about
// 200 us where they are too many. Nested.Dispatch runs one round. Direct.Turn begins
// rounds for 100 us, also while rings are hot. Then the host looks at all its
// descriptors. So busy rings hold these up for 200 to 300 us, if no turn takes long: the
// length of the slice that Ready receives into is its budget.
//
// A Direct that rings would wake more than some ten thousand times a second naps between
// two looks, 0.1 ms or so, which makes such a load several times cheaper;
// reactor.WithNap(0) turns that off.
//
// Linux only. On other systems the New functions return an error that matches
// errors.ErrUnsupported.
package epoll
