package main

import (
	"fmt"
	"syscall"
	"time"
)

const (
	timeError = 5 // TIME_ERROR of adjtimex(2): nobody keeps the clock
	staNano   = 1 << 13
)

// clock asks the kernel whether something keeps its clock.
func (d *doctor) clock() {
	var t syscall.Timex
	state, err := syscall.Adjtimex(&t) // with Modes 0 it only reads
	if err != nil {
		d.note("clock", warns, "the kernel does not say whether it is kept: "+err.Error(), "see that the host runs chrony, systemd-timesyncd or another NTP client")
		return
	}
	unit := time.Microsecond
	if t.Status&staNano != 0 {
		unit = time.Nanosecond
	}
	offset := time.Duration(t.Offset) * unit
	if state == timeError {
		d.note("clock", warns, "nothing keeps it: tokens may expire too soon or too late", "run chrony, systemd-timesyncd or another NTP client on the host")
		return
	}
	d.note("clock", fine, fmt.Sprintf("kept, %v off", offset.Round(time.Microsecond)), "")
}
