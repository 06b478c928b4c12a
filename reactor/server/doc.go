// Package server serves rings to many local client processes: it listens on a unix
// socket, hands out rings (package handoff), services them on a few loops (package
// reactor), notices the end of each client, and cleans up. The user writes
// callbacks.
//
//	srv, err := server.New(server.Handler[Sample]{
//		Ready: func(c *server.Conn[Sample]) error {
//			n, err := c.Receive(buf) // one batch; there is another turn if there is more
//			...
//			return err
//		},
//	}, server.Config{})
//	err = srv.Serve(ctx, "/run/agent.sock")
//
// Clients use [handoff.Dial]. Each says which way it wants items to go; the size
// of its items has to be that of T, else it is refused. T is any type that
// [ringbuf.CheckType] allows.
//
// # Goroutines
//
// One goroutine accepts clients, one runs each loop, and there is none for each
// connection. All that belongs to a connection is on one loop, so the callbacks of a
// connection need no lock between them; those of different connections do, unless
// [Config].Loops is 1.
//
// # How a connection ends
//
// A client that closed its rings and its connection ended cleanly. One that died is
// noticed by its socket and its pidfd. Either way Ready is called until what the
// client sent is received, and then Close is called, once. A client that breaks the
// rules of the ring, and a callback that panics or returns an error, end their own
// connection only.
//
// # Watching it
//
// [Server.Stats] is made for package expvar:
//
//	expvar.Publish("rings", expvar.Func(func() any { return srv.Stats() }))
//
// # Limits
//
// A connection takes four or five descriptors with one ring and six or seven with
// two: raise RLIMIT_NOFILE, and mind vm.max_map_count, which bounds the rings of a
// process.
//
// Linux only. On other systems Serve returns an error that matches
// errors.ErrUnsupported.
package server
