package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/proc"
)

// Times for starting and stopping.
const (
	startTimeout = 20 * time.Second
	stopTimeout  = 5 * time.Second
)

// Build builds a command, a package path as for `go build`, into dir under that name, and returns the program.
func Build(ctx context.Context, dir, name, pkg string) (program string, err error) {
	program = filepath.Join(dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as `make build` does
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, bytes.TrimSpace(out))
	}
	return program, nil
}

// Server is a running server. Its methods are for one goroutine.
type Server struct {
	Address  string // of the public port
	Internal string // base URL of the internal port

	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed once the process has ended
	err  error         // its end; read after done

	ended bool // it was to end, and has
}

// Start writes the configuration into dir, starts `program serve --config FILE` and waits until it is ready. An empty
// address in cfg becomes a free port. The server is killed when ctx ends. Its log is in dir.
func Start(ctx context.Context, dir, program string, cfg Config) (*Server, error) {
	var err error
	for _, addr := range []*string{&cfg.Public, &cfg.Internal} {
		if *addr == "" {
			if *addr, err = FreeAddress(cfg.Public); err != nil {
				return nil, err
			}
		}
	}
	file := filepath.Join(dir, "fairlead.toml")
	if err := os.WriteFile(file, []byte(cfg.TOML()), 0o600); err != nil {
		return nil, err
	}
	s := &Server{
		Address: cfg.Public, Internal: "http://" + cfg.Internal, done: make(chan struct{}),
		cmd: exec.CommandContext(ctx, program, "serve", "--config", file), log: filepath.Join(dir, "server.log"),
	}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.Env = log, log, environment()
	err = s.cmd.Start()
	log.Close() // the child has its own
	if err != nil {
		return nil, err
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	if err := s.ready(ctx); err != nil {
		_ = s.cmd.Process.Kill()
		<-s.done
		return nil, err
	}
	return s, nil
}

// environment is this process's, without what would change the server's configuration.
func environment() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "FAIRLEAD_") {
			env = append(env, v)
		}
	}
	return env
}

func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Internal+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.done:
			return fmt.Errorf("the server has ended: %w\n%s", s.err, s.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready: %w\n%s", ctx.Err(), s.LogTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// PID returns the server's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Metrics reads the server's metrics.
func (s *Server) Metrics(ctx context.Context) (Metrics, error) {
	return ReadMetrics(ctx, s.Internal+"/metrics")
}

// LogTail returns the last lines of the server's log.
func (s *Server) LogTail() string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	b = bytes.TrimSpace(b)
	if i := len(b) - 2000; i > 0 {
		b = append([]byte("…"), b[i:]...)
	}
	return string(b)
}

// Ended waits for the end of a server that somebody else told to stop. Stop has nothing to do then.
func (s *Server) Ended() error {
	select {
	case <-s.done:
	case <-time.After(stopTimeout):
		return errors.New("it goes on")
	}
	s.ended = true
	if s.err != nil {
		return fmt.Errorf("%w\n%s", s.err, s.LogTail())
	}
	return nil
}

// Stop asks the server to end, and ends it when it takes too long. A server that ended before is an error.
func (s *Server) Stop() error {
	if s.ended {
		return nil
	}
	select {
	case <-s.done:
		return fmt.Errorf("the server had ended before: %w\n%s", s.err, s.LogTail())
	default:
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
	select {
	case <-s.done:
	case <-time.After(stopTimeout):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	return nil
}

// FreeAddress returns a free address on 127.0.0.1 other than taken. It looks below the range from which the kernel takes the
// ports of clients, since one of these could sit on the port when the server starts. Ports below 1024 are tried too: for a
// user who may not have them they are not free.
func FreeAddress(taken string) (string, error) {
	first, err := proc.EphemeralFrom()
	if err != nil {
		return "", err
	}
	for port := first - 1; port >= max(512, first-2000); port-- {
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if addr == taken {
			continue
		}
		if l, err := net.Listen("tcp4", addr); err == nil {
			return addr, l.Close()
		}
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", errors.Join(errors.New("no free port"), err)
	}
	return l.Addr().String(), l.Close()
}
