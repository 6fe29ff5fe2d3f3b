package gateway

import "syscall"

// deferAccept sets TCP_DEFER_ACCEPT (tcp(7)) on a socket that is to listen.
func deferAccept(conn syscall.RawConn, seconds int) error {
	var serr error
	err := conn.Control(func(fd uintptr) {
		serr = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_DEFER_ACCEPT, seconds)
	})
	if err != nil {
		return err
	}
	return serr
}
