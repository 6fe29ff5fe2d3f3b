//go:build !linux

package gateway

import (
	"errors"
	"fmt"
	"syscall"
)

// deferAccept says that there is no such thing here.
func deferAccept(syscall.RawConn, int) error {
	return fmt.Errorf("DeferAccept: %w", errors.ErrUnsupported)
}
