// Package actor keeps WebSocket connections: one goroutine, the actor, for each, from the 101 response to the last byte.
//
// # The life of a connection
//
// [System.Open] is called on the goroutine of the handshake, once it is known who the client is. It writes the opening
// into the journal, joins the route's groups, answers 101, and starts the actor on a goroutine of its own, whose stack is
// small. The actor parks without a buffer; when bytes come it reads them into a pooled one, takes them apart into frames
// (RFC 6455 section 5) and calls the [Handler] for each message. Whatever ends the connection, it ends on one path: the
// groups are left, the handler is told, the journal gets the closing, and everything is released.
//
// # Who owns what
//
// Everything that can change about a session changes on its actor's goroutine and by an event. Other goroutines ask for
// it by a command in the actor's mailbox: [Actor.Do] and [Actor.Close]. Delivery is the exception, for speed: the bus
// writes into the outbox on its own goroutine and does not wake the actor.
//
// # What it guarantees
//
//   - Nobody who sends to a connection waits for it. What the socket does not take at once is queued, up to
//     Config.OutboxBytes, and written by a goroutine that lives as long as there is something to write. A client that
//     does not read is cut off when its outbox is full, or when one write has waited for Config.WriteTimeout.
//   - RFC 6455 in full: fragments with control frames between them, UTF-8 checked as it comes, limits before payloads,
//     one close frame in each direction, and the close code that says what was wrong.
//   - A panic in a Handler ends its own connection, with 1011, and is counted.
//   - A credential that expires closes its connection with 4401 within a second. A peer that is gone is found by pings.
//   - A client that sends faster than the bus takes is not read until the bus has room: nothing is dropped.
//
// # What it leaves to others
//
// Who may come in (package gateway and authn), how groups reach other nodes (package bus), what is kept of a session's
// events (package journal). Messages are not kept here: a client that was cut off has missed what came after.
package actor
