package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ErrFormat is wrapped by errors about a file of /proc that does not look as proc(5) says.
var ErrFormat = errors.New("unexpected format in /proc")

// CPU returns the processor time that all threads of the process have used, those that ended included, in user and in
// kernel mode. It reads the process's own clock (clock_getcpuclockid(3)): nanoseconds, not the 10 ms ticks of /proc/PID/stat.
func CPU(pid int) (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED of a whole process
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
		return 0, fmt.Errorf("processor clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// Memory is a part of /proc/PID/status, in bytes.
type Memory struct {
	Resident int64 // VmRSS
	Peak     int64 // VmHWM: the largest Resident so far
	Threads  int
}

// ReadMemory returns the memory of a process now.
func ReadMemory(pid int) (Memory, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Memory{}, err
	}
	return parseMemory(b)
}

func parseMemory(status []byte) (m Memory, err error) {
	seen := 0
	for line := range bytes.Lines(status) {
		f := bytes.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, bad := strconv.ParseInt(string(f[1]), 10, 64)
		switch string(f[0]) {
		case "VmRSS:":
			m.Resident = n << 10
		case "VmHWM:":
			m.Peak = n << 10
		case "Threads:":
			m.Threads = int(n)
		default:
			continue
		}
		if bad != nil {
			return Memory{}, fmt.Errorf("%w: status has %q", ErrFormat, line)
		}
		seen++
	}
	if seen != 3 {
		return Memory{}, fmt.Errorf("%w: status has %d of VmRSS, VmHWM and Threads", ErrFormat, seen)
	}
	return m, nil
}

// Files returns the number of open descriptors of a process.
func Files(pid int) (int, error) {
	d, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return 0, err
	}
	if pid == os.Getpid() {
		return len(names) - 1, nil // without the one that counts
	}
	return len(names), nil
}

// RaiseFileLimit raises the limit of open files of this process to what it may have, and returns it. The Go runtime does so
// too, but gives child processes the old limit back.
func RaiseFileLimit() (int, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	l.Cur = l.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	return int(l.Cur), nil
}
