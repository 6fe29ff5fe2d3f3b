//go:build !unix

package main

// openFiles returns how many files a process can have open, where the system has no limit that it tells.
func openFiles() (uint64, error) { return maxConnections, nil }
