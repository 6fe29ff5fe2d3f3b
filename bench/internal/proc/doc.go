// Package proc reads what Linux says of another process and of the network: CPU time to the nanosecond, resident memory,
// open files, socket memory, the state of TCP sockets. It asks and never changes anything.
//
// The measured process does not take part: no profiler, no agent, no signal. So the readings cost it nothing, and any
// server can be measured in the same way.
package proc
