package proc

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// speedCalls is how many system calls a look at one processor takes: 2 to 5 ms.
const speedCalls = 15_000

// Speed returns what a system call that does nothing costs now, in nanoseconds of processor time, over all processors. It
// tells how fast the machine is: a virtual one shares its cores with others that it cannot see, and needs half as much again
// for the same work while they are busy.
func Speed() (ns float64, err error) {
	runtime.LockOSThread() // not unlocked on an error: the thread ends then, and its affinity with it
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return 0, fmt.Errorf("affinity: %w", err)
	}
	n := 0
	for cpu := 0; n < all.Count(); cpu++ {
		if !all.IsSet(cpu) {
			continue
		}
		n++
		var one unix.CPUSet
		one.Set(cpu)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			return 0, fmt.Errorf("affinity: %w", err)
		}
		before, err := threadCPU()
		if err != nil {
			return 0, err
		}
		for range speedCalls {
			_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		}
		after, err := threadCPU()
		if err != nil {
			return 0, err
		}
		ns += float64(after-before) / speedCalls
	}
	if err := unix.SchedSetaffinity(0, &all); err != nil {
		return 0, fmt.Errorf("affinity: %w", err)
	}
	runtime.UnlockOSThread()
	return ns / float64(n), nil
}

func threadCPU() (time.Duration, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano()), err
}
