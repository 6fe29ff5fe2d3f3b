// Package natsd runs a NATS server with JetStream on disk in a process of its own, and takes it away for a while: a trial
// can give two servers a bus in common, or see what one does without its journal.
package natsd
