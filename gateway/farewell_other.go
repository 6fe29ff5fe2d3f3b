//go:build !linux

package gateway

import "net"

// writeLast writes p, after which nothing is written to conn but its end.
func writeLast(conn net.Conn, p []byte) error {
	_, err := conn.Write(p)
	return err
}
