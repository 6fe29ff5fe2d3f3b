package proc

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// userHZ is the unit of /proc/stat. It has been 100 on every Linux that Go runs on.
const userHZ = 100

// Busy returns the processor time that the whole machine has used, in steps of 10 ms. What is in it, but in no process that
// was measured, is somebody else's work and a reason to doubt a figure.
func Busy() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(b)
}

func parseBusy(stat []byte) (time.Duration, error) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) < 9 || string(f[0]) != "cpu" {
		return 0, fmt.Errorf("%w: stat begins with %q", ErrFormat, line)
	}
	var ticks int64
	for i, v := range f[1:9] { // user nice system idle iowait irq softirq steal
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: stat begins with %q", ErrFormat, line)
		}
		if i == 3 || i == 4 || i == 7 {
			continue // idle, waiting, and what the hypervisor took
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / userHZ, nil
}

// Kernel is memory that the kernel holds for sockets, both ends of loopback connections together, in bytes.
type Kernel struct {
	TCPBuffers int64 // bytes queued in TCP sockets, from /proc/net/sockstat
	Slab       int64 // all kernel objects, from /proc/meminfo: a difference shows sockets, files, inodes
}

// ReadKernel returns the kernel's memory now. It is the whole machine's, so only a difference says something, and only on a
// quiet machine.
func ReadKernel() (Kernel, error) {
	sockstat, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return Kernel{}, err
	}
	meminfo, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return Kernel{}, err
	}
	pages, err := parseSockstat(sockstat)
	if err != nil {
		return Kernel{}, err
	}
	slab, err := parseSlab(meminfo)
	return Kernel{TCPBuffers: pages * int64(os.Getpagesize()), Slab: slab}, err
}

// parseSockstat returns the pages of "TCP: inuse 5 orphan 0 tw 0 alloc 8 mem 3".
func parseSockstat(b []byte) (pages int64, err error) {
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) == 0 || string(f[0]) != "TCP:" {
			continue
		}
		for i := 1; i+1 < len(f); i += 2 {
			if string(f[i]) == "mem" {
				return strconv.ParseInt(string(f[i+1]), 10, 64)
			}
		}
	}
	return 0, fmt.Errorf("%w: sockstat has no TCP mem", ErrFormat)
}

func parseSlab(b []byte) (int64, error) {
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) >= 2 && string(f[0]) == "Slab:" {
			kib, err := strconv.ParseInt(string(f[1]), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%w: meminfo has no Slab", ErrFormat)
}

// ReadMachine describes this machine. What cannot be read stays empty.
func ReadMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:]) + " " +
			unix.ByteSliceToString(u.Machine[:])
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.Model = field(b, "model name")
	}
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) == nil {
		m.Memory = int64(s.Totalram) * int64(s.Unit)
	}
	return m
}

// field returns the value of the first line "name : value".
func field(b []byte, name string) string {
	for line := range bytes.Lines(b) {
		if k, v, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(k)) == name {
			return string(bytes.TrimSpace(v))
		}
	}
	return ""
}

// EphemeralFrom returns the first port that the kernel gives to clients (ip_local_port_range).
func EphemeralFrom() (int, error) {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, err
	}
	f := bytes.Fields(b)
	if len(f) != 2 {
		return 0, fmt.Errorf("%w: ip_local_port_range is %q", ErrFormat, b)
	}
	return strconv.Atoi(string(f[0]))
}
