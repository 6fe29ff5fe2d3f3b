package authn

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// openSessionFile opens a file for reading. Anybody may make files in a folder for temporary ones: a pipe is not waited for,
// and a link is not followed.
func openSessionFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, syscall.ELOOP) {
		err = errIrregular
	}
	return f, err
}

// deviceOf returns the number of the device that a file is on, 0 where that cannot be known.
func deviceOf(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Dev) //nolint:unconvert // not on all architectures
	}
	return 0
}
