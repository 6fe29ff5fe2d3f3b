package gateway

import (
	"net"
	"syscall"
)

// writeLast writes p, after which nothing is written to conn but its end. The kernel is told to wait for that (MSG_MORE,
// send(2)), so that the answer and the end are one packet: packets are most of what a refusal costs.
func writeLast(conn net.Conn, p []byte) error {
	c, ok := conn.(syscall.Conn)
	if !ok {
		_, err := conn.Write(p)
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var errno error
	err = raw.Write(func(fd uintptr) bool {
		var n int
		n, errno = syscall.SendmsgN(int(fd), p, nil, nil, syscall.MSG_MORE|syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
		if errno == syscall.EINTR || errno == syscall.EAGAIN {
			errno = nil
		} else if errno == nil {
			p = p[n:]
		}
		return errno != nil || len(p) == 0
	})
	if err != nil {
		return err
	}
	return errno
}
