package proc

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCPU burns some time and finds it on this process's clock, as another process would.
func TestCPU(t *testing.T) {
	before, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	var self unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &self); err != nil {
		t.Fatal(err)
	}
	if r := time.Duration(self.Utime.Nano() + self.Stime.Nano()); (before - r).Abs() > 200*time.Millisecond {
		t.Errorf("CPU is %v, getrusage says %v", before, r)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		after, err := CPU(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if after-before > 20*time.Millisecond {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("10 s of work count as %v", after-before)
		}
	}
}

// TestOtherProcess measures a child that waits for its input to end.
func TestOtherProcess(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	poll(t, "the child has used some CPU, but little", func() bool { // the kernel books it when the child parks
		d, err := CPU(pid)
		return err == nil && d > 0 && d < time.Second
	})
	if m, err := ReadMemory(pid); err != nil || m.Resident <= 0 || m.Peak < m.Resident || m.Threads != 1 {
		t.Errorf("memory of the child: %+v, %v", m, err)
	}
	if n, err := Files(pid); err != nil || n < 3 {
		t.Errorf("the child has %d files, %v", n, err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if d, err := CPU(pid); err == nil {
		t.Errorf("a process that is gone has used %v", d)
	}
	if _, err := ReadMemory(pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("memory of a process that is gone: %v", err)
	}
	if _, err := Files(pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("files of a process that is gone: %v", err)
	}
}

func TestParseMemory(t *testing.T) {
	good := "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t7\nSigQ:\t0/1\n"
	if m, err := parseMemory([]byte(good)); err != nil || m != (Memory{Resident: 1 << 20, Peak: 2 << 20, Threads: 7}) {
		t.Errorf("got %+v, %v", m, err)
	}
	for _, give := range []string{"", "VmRSS: 1 kB\nThreads: 1\n", "VmRSS: x kB\nVmHWM: 1 kB\nThreads: 1\n"} {
		if m, err := parseMemory([]byte(give)); !errors.Is(err, ErrFormat) {
			t.Errorf("parseMemory(%q) = %+v, %v; want ErrFormat", give, m, err)
		}
	}
}

func TestFilesSeesOne(t *testing.T) {
	before, err := Files(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	after, err := Files(os.Getpid())
	if err != nil || after != before+1 {
		t.Errorf("%d files, then %d, %v", before, after, err)
	}
	f.Close()
	runtime.KeepAlive(f)
}

func TestRaiseFileLimit(t *testing.T) {
	n, err := RaiseFileLimit()
	if err != nil || n <= 0 {
		t.Fatal(n, err)
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur != l.Max || int(l.Cur) != n {
		t.Errorf("limit %+v, %v; RaiseFileLimit says %d", l, err, n)
	}
}
