package authn

import (
	"io/fs"
	"syscall"
)

// deviceOf returns the number of the device that a file is on, 0 where that cannot be known.
func deviceOf(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Dev) //nolint:unconvert // not on all architectures
	}
	return 0
}
