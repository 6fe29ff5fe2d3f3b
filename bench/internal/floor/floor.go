package floor

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

//go:embed c/sendloop.c
var source []byte

// Compile compiles the loop into dir and returns the program. The error says why there is none; the stand-in is a choice
// then.
func Compile(ctx context.Context, dir string) (program string, err error) {
	file := filepath.Join(dir, "sendloop.c")
	if err := os.WriteFile(file, source, 0o600); err != nil {
		return "", err
	}
	program = filepath.Join(dir, "sendloop")
	if out, err := exec.CommandContext(ctx, "cc", "-O2", "-Wall", "-o", program, file).CombinedOutput(); err != nil {
		return "", fmt.Errorf("cc: %w: %.300s", err, out)
	}
	return program, nil
}

// Loop is a running send loop. Its methods are for one goroutine.
type Loop struct {
	Address string // where the clients connect to

	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// Start starts a program that speaks as c/sendloop.c does: for n connections and messages of size bytes, which are added to
// args. It is killed when ctx ends.
func Start(ctx context.Context, n, size int, program string, args ...string) (*Loop, error) {
	l := &Loop{cmd: exec.CommandContext(ctx, program, append(args, strconv.Itoa(n), strconv.Itoa(size))...)}
	l.cmd.Stderr = os.Stderr
	in, err := l.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := l.cmd.Start(); err != nil {
		return nil, fmt.Errorf("send loop: %w", err)
	}
	l.in, l.out = in, bufio.NewReader(out)
	var port int
	if _, err := fmt.Fscanf(l.out, "port %d\n", &port); err != nil {
		return nil, errors.Join(fmt.Errorf("send loop: no port: %w", err), l.Close())
	}
	l.Address = fmt.Sprintf("127.0.0.1:%d", port)
	return l, nil
}

// PID returns the loop's process.
func (l *Loop) PID() int { return l.cmd.Process.Pid }

// Ready waits until all connections have come.
func (l *Loop) Ready() error {
	if line, err := l.out.ReadString('\n'); err != nil || line != "ready\n" {
		return fmt.Errorf("send loop: want ready, not %q: %w", line, err)
	}
	return nil
}

// Run sends messages to all, one each interval, and returns the number of sends. A send that a socket did not take whole is
// an error: the clients were too slow for a comparison.
func (l *Loop) Run(messages int, interval time.Duration) (sends int64, err error) {
	if _, err := fmt.Fprintf(l.in, "%d %d\n", messages, interval.Nanoseconds()); err != nil {
		return 0, fmt.Errorf("send loop: %w", err)
	}
	var short int64
	if _, err := fmt.Fscanf(l.out, "sent %d %d\n", &sends, &short); err != nil {
		return 0, fmt.Errorf("send loop: %w", err)
	}
	if short > 0 {
		return sends, fmt.Errorf("send loop: %d sends of %d were not whole", short, sends+short)
	}
	return sends, nil
}

// Close ends the loop and waits for its process.
func (l *Loop) Close() error {
	l.in.Close()
	return l.cmd.Wait()
}
