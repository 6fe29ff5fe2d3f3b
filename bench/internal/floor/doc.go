// Package floor is the least that a fan-out can cost: a loop that sends the same bytes to many sockets, one send(2) each, in
// a process of its own. What a server needs beyond it, in the same run and to the same kind of client, is the server's.
//
// The loop is a page of C (c/sendloop.c), compiled when it is needed. Where there is no C compiler, the same loop in Go
// stands in ([Serve]): a raw system call on a locked thread, which is as near as Go comes.
package floor
