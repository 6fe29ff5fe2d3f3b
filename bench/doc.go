// Command bench measures a Fairlead server from outside: memory, handshakes, fan-out, floods, slow readers, leaks. It builds
// and starts the server, opens the clients in other processes, and prints figures beside their targets.
//
//	go run ./bench help
//	go run ./bench all
//
// It knows the wire, the command line and the kernel, and imports no package of the server. Linux only. README.md has the
// method and the figures.
package main
