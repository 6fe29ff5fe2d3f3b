//go:build !linux

package gateway

import "net"

// newListener returns l: only on Linux there is a faster way to accept.
func newListener(l net.Listener) (net.Listener, error) { return l, nil }
