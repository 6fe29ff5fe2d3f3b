//go:build !linux || (!amd64 && !arm64)

package actor

import (
	"errors"
	"net"
)

// Prepare does nothing: what it would set is for the raw system calls.
func Prepare(int) {}

// newSocket reports false: raw system calls are for Linux on amd64 and arm64 only.
func newSocket(net.Conn) (transport, bool) { return nil, false }

// newSecure reports false, as newSocket does.
func newSecure(net.Conn) (transport, bool) { return nil, false }

// receiveNow is never called: no wire is detached here.
func receiveNow(int, []byte) (int, error) { return 0, errors.ErrUnsupported }

// sendNow is never called: no actor has a descriptor here.
func sendNow(int, []byte) (int, error) { return 0, errors.ErrUnsupported }
