//go:build unix

package main

import (
	"fmt"
	"syscall"
)

// openFiles raises the process's limit of open files to what it may have, and returns it.
func openFiles() (uint64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("open-file limit: %w", err)
	}
	if raised := limit; limit.Cur < limit.Max {
		raised.Cur = limit.Max
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) == nil { // else it stays as it is
			limit = raised
		}
	}
	return uint64(limit.Cur), nil //nolint:unconvert // it is signed on FreeBSD
}
