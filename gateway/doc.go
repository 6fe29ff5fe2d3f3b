// Package gateway takes WebSocket handshakes: it accepts connections, reads and judges each request, and hands those that
// may come in to an [Opener], which makes their actors.
//
// It guarantees that a stranger can make it hold only so much: a bounded number of handshakes at once, a bounded head, one
// deadline for the whole of it. It parses strictly (RFC 9112, RFC 6455 section 4.2), so that it and whatever stands in
// front of it read the same request; what it refuses, it refuses by an HTTP status with one line that says what would be
// right, and never by a reset where the client can still read. A dead database is 503, never 401 and never a way in. No
// credential and nothing else that a stranger sent is in a refusal, a metric or an event, and no log has a query, a cookie
// or a header's value.
//
// It looks again at connections of routes with Recheck, as it did at the handshake: who may not be there any more is closed
// within that time. [Gateway.Close] ends that.
//
// It leaves who a client is and what it may do to package authn, the frames behind the head to package actor, and what
// should happen on a signal to its caller: the end of [Gateway.Serve]'s context is the end of accepting, not of the
// connections that were handed over.
//
// The request is never a net/http one: reading a head into a pooled buffer and lending its slices makes no garbage and
// takes about a tenth of the time (BenchmarkParseHead), and the bytes behind the head stay at hand for the actor.
package gateway
