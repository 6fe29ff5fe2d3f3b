package floor

import (
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/proc"
)

// TestLoop holds the loop in C and its stand-in to the same behaviour. Without a C compiler only the stand-in is here.
func TestLoop(t *testing.T) {
	loops := map[string][]string{"go": {os.Args[0], childFlag}}
	if _, err := exec.LookPath("cc"); err == nil {
		program, err := Compile(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		loops["c"] = []string{program}
	}
	for name, program := range loops {
		t.Run(name, func(t *testing.T) {
			const n, size, messages = 3, 132, 10
			l, err := Start(t.Context(), n, size, program[0], program[1:]...)
			if err != nil {
				t.Fatal(err)
			}
			var clients [n]net.Conn
			for i := range clients {
				if clients[i], err = net.Dial("tcp4", l.Address); err != nil {
					t.Fatal(err)
				}
				defer clients[i].Close()
			}
			if err := l.Ready(); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			if sends, err := l.Run(messages, 2*time.Millisecond); err != nil || sends != n*messages {
				t.Errorf("Run = %d, %v; want %d", sends, err, n*messages)
			}
			if d := time.Since(begin); d < 18*time.Millisecond {
				t.Errorf("10 messages in %v, one each 2 ms", d)
			}
			if d, err := proc.CPU(l.PID()); err != nil || d <= 0 {
				t.Errorf("the loop has used %v, %v", d, err)
			}
			for i := range clients {
				clients[i].SetReadDeadline(time.Now().Add(10 * time.Second))
				if b := make([]byte, size*messages); read(clients[i], b) != nil {
					t.Errorf("client %d has not all", i)
				}
			}
			// Nobody reads: at some time the sockets are full.
			short := false
			for deadline := time.Now().Add(10 * time.Second); !short && time.Now().Before(deadline); {
				_, err := l.Run(5000, 0)
				short = err != nil && strings.Contains(err.Error(), "not whole")
			}
			if !short {
				t.Error("full sockets are no error")
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func read(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	return err
}

func TestStartFails(t *testing.T) {
	if _, err := Start(t.Context(), 1, 1, "/nonexistent/loop"); err == nil {
		t.Error("a program that is not there starts")
	}
	if _, err := Start(t.Context(), 1, 1, "true"); err == nil {
		t.Error("a program that says nothing is a loop")
	}
	if _, err := Start(t.Context(), 0, 1, os.Args[0], childFlag); err == nil {
		t.Error("a loop without connections starts")
	}
}

func TestCompileFails(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if p, err := Compile(t.Context(), t.TempDir()); err == nil {
		t.Errorf("compiled %s without a compiler", p)
	}
	if p, err := Compile(t.Context(), "/nonexistent"); err == nil {
		t.Errorf("compiled %s into a folder that is not there", p)
	}
}
