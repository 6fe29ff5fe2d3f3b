package gateway

import (
	"net"
	"syscall"
)

// cork holds back what is written to conn until its end is, so that a refusal and the end of the connection are one packet
// (TCP_CORK, tcp(7)): packets are most of what a refusal costs. Where it fails they are two.
func cork(conn net.Conn) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(setCork)
	}
}

func setCork(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 1)
}
