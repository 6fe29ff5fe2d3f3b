//go:build !linux

package gateway

import "net"

// cork does nothing: a refusal and the end of the connection are two packets.
func cork(net.Conn) {}
