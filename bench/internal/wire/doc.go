// Package wire is as much of the WebSocket protocol (RFC 6455) as a load generator speaks: the client's handshake request
// with a credential in any of the places a server may look for one, the server's answer, and frames.
//
// It is made to be cheap rather than complete: no extension, no fragments sent, and one fixed mask. What it accepts from a
// server it checks, since a benchmark of wrong bytes measures nothing. It knows no Fairlead package.
package wire
