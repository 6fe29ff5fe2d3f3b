// Package tlscrowd is WebSocket clients over TLS that do nothing but answer pings, in a process of their own. It is apart from
// package crowd because crypto/tls wants a goroutine for each: what its clients cost is not looked at.
//
// The process is started with the address, the path and the number of clients, and gets the key that signs their tokens and a
// line for each step over its standard input; what it answers is in [Step].
package tlscrowd
