// Package gnetring services rings on the event loops of gnet
// (github.com/panjf2000/gnet/v2), beside its connections. Callbacks of rings run on the
// goroutine of a gnet event loop, so rings and connections of the same loop need no lock
// between them.
//
// [Wrap] makes a gnet.EventHandler of the program's own. A ring is attached to
//
//   - a connection, with [Rings.AttachConn]: it is serviced on that connection's event loop
//     and shares its fate;
//   - an event loop, with [Rings.Loop] and [Loop.Attach];
//   - the engine, with [Rings.Attach]: its load balancing chooses the event loop;
//   - a client, with [Client.Attach]: with [WithHandshake] processes that call
//     handoff.Dial at a unix address of the engine are given rings.
//
// Turns, handlers and flow control are those of package reactor.
//
// # Routes
//
// gnet waits on connections only. So a doorbell reaches an event loop on one of three
// routes, which [Registration.Route] tells and [WithRoute] asks for: [RouteEventfd] for
// eventfds of trusted peers, [RouteSocket] for doorbells that are sockets
// (sharedring.WithSocketDoorbells), and [RouteRelay] for all else.
//
// # Fairness
//
// Rings that stay busy or hot are given turns for up to 100 us at a time, between which
// gnet looks at its sockets. Under a load of many small messages the naps of
// reactor.WithNap hold up sockets for about as long.
//
// gnet that is edge-triggered reads one connection for up to EdgeTriggeredIOChunk bytes, a
// megabyte by default, before it looks at the next. A hostile peer with a socket doorbell can
// use that, as one with any connection can; a chunk of some kilobytes bounds it.
//
// # The end
//
// When the engine stops, all rings are told Closed(reactor.ErrClosed) on their event loop.
// Their connections may be closed then, also those of other event loops. OnShutdown of
// the wrapped handler is called first. No ring can be attached after it.
//
// A gnet.Shutdown that a callback of the program returns while a ring is being attached is
// turned into a call of Engine.Stop, so a few more events may follow. If an event loop
// fails by itself meanwhile, gnet leaves a descriptor and a goroutine behind.
//
// # Descriptors
//
// An event loop with rings takes four descriptors, and two more with RouteRelay. A ring
// takes one with RouteEventfd and RouteSocket (a few more while it is being attached),
// and none with RouteRelay. gnet counts two connections of each event loop with rings and
// those of RouteEventfd and RouteSocket among its own (Engine.CountConnections).
//
// Linux only. On other systems connections are served as ever, and Attach returns an error
// that matches errors.ErrUnsupported.
package gnetring
