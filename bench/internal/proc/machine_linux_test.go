package proc

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestBusyGrows(t *testing.T) {
	before, err := Busy()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		after, err := Busy()
		if err != nil {
			t.Fatal(err)
		}
		if after > before {
			return // this very loop is work
		}
		if time.Now().After(deadline) {
			t.Fatalf("10 s of work leave the machine at %v", after)
		}
	}
}

func TestParseBusy(t *testing.T) {
	got, err := parseBusy([]byte("cpu  100 20 30 4000 500 6 7 800 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n"))
	if want := 1630 * time.Millisecond; err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for _, give := range []string{"", "intr 1 2 3 4 5 6 7 8", "cpu 1 2", "cpu 1 2 3 4 5 x 7 8"} {
		if got, err := parseBusy([]byte(give)); !errors.Is(err, ErrFormat) {
			t.Errorf("parseBusy(%q) = %v, %v; want ErrFormat", give, got, err)
		}
	}
}

func TestReadKernel(t *testing.T) {
	k, err := ReadKernel()
	if err != nil || k.Slab <= 0 || k.TCPBuffers < 0 {
		t.Errorf("got %+v, %v", k, err)
	}
}

func TestParseKernel(t *testing.T) {
	const sockstat = "sockets: used 290\nTCP: inuse 14 orphan 0 tw 3 alloc 19 mem 42\nUDP: inuse 2 mem 7\n"
	if n, err := parseSockstat([]byte(sockstat)); err != nil || n != 42 {
		t.Errorf("parseSockstat = %d, %v", n, err)
	}
	for _, give := range []string{"", "UDP: inuse 2 mem 7\n", "TCP: inuse 1\n", "TCP: mem\n"} {
		if n, err := parseSockstat([]byte(give)); !errors.Is(err, ErrFormat) {
			t.Errorf("parseSockstat(%q) = %d, %v; want ErrFormat", give, n, err)
		}
	}
	if n, err := parseSlab([]byte("MemFree: 1 kB\nSlab:           40 kB\n")); err != nil || n != 40<<10 {
		t.Errorf("parseSlab = %d, %v", n, err)
	}
	if n, err := parseSlab([]byte("MemFree: 1 kB\n")); !errors.Is(err, ErrFormat) {
		t.Errorf("parseSlab without Slab = %d, %v; want ErrFormat", n, err)
	}
}

func TestReadMachine(t *testing.T) {
	m := ReadMachine()
	if !strings.HasPrefix(m.Kernel, "Linux ") || m.CPUs != runtime.NumCPU() || m.Memory < 1<<20 {
		t.Errorf("got %+v", m)
	}
	if got := field([]byte("processor\t: 0\nmodel name\t: Some CPU: 3 GHz\n"), "model name"); got != "Some CPU: 3 GHz" {
		t.Errorf("field = %q", got)
	}
	if got := field([]byte("a: b\n"), "c"); got != "" {
		t.Errorf("a field that is not there: %q", got)
	}
}

func TestEphemeralFrom(t *testing.T) {
	if n, err := EphemeralFrom(); err != nil || n < 1 || n > 65535 {
		t.Errorf("got %d, %v", n, err)
	}
}
