//go:build !linux

package main

// clock has nobody to ask on this system.
func (d *doctor) clock() {
	d.note("clock", warns, "whether it is kept cannot be read here", "run an NTP client on the host")
}
