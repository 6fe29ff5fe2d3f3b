// Package crowd is many WebSocket clients on one thread: one epoll loop, one read buffer, a few hundred bytes a connection.
//
// A crowd lives in a process of its own, so that its memory, its open files and its CPU time are not the server's, nor those
// of the program that measures. That program steers it with a [Client]: commands and replies are lines of JSON over standard
// input and output, one command at a time ([Crowd.Serve]). While a command runs and between commands the loop goes on
// reading and answering pings.
//
// How a connection reads decides what a delivery costs at the client, and at the server too, since on loopback the sender
// also wakes the receiver: see [Reading].
package crowd
