package channels

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The servers that Channels may run on.
const (
	Daphne  = "daphne"
	Uvicorn = "uvicorn"
)

// python is Debian's: another one that comes first in PATH has no Django.
const python = "/usr/bin/python3"

// Times for starting and stopping.
const (
	startTimeout = 30 * time.Second
	stopTimeout  = 5 * time.Second
)

//go:embed gate.py
var gate []byte

// ErrMissing is wrapped by the error of [Start] where something of the peer is not installed.
var ErrMissing = errors.New("channels: Django Channels is not installed for " + python + ": bench/channels/run installs it (Debian)")

// Server is a running site. Its methods are for one goroutine.
type Server struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// Start writes the site into dir and starts it at the address, with one process, and waits until it listens. dsn is where the
// database is, secret SECRET_KEY. The caller stops it; it is killed when ctx ends.
func Start(ctx context.Context, dir, server, address, dsn, secret string) (*Server, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	database, err := url.Parse(dsn)
	if err != nil {
		return nil, errors.New("channels: the database has no URL")
	}
	args := map[string][]string{
		Daphne:  {"-m", "daphne", "-v", "0", "-b", host, "-p", port, "gate:application"},
		Uvicorn: {"-m", "uvicorn", "--log-level", "warning", "--no-access-log", "--lifespan", "off", "--host", host, "--port", port, "gate:application"},
	}[server]
	if args == nil {
		return nil, fmt.Errorf("channels: server %q: want %s or %s", server, Daphne, Uvicorn)
	}
	imports := "import channels, psycopg2, rest_framework, websockets, " + server
	if out, err := exec.CommandContext(ctx, python, "-c", imports).CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return nil, fmt.Errorf("%w: %s", ErrMissing, lines[len(lines)-1])
	}
	if err := os.WriteFile(filepath.Join(dir, "gate.py"), gate, 0o600); err != nil {
		return nil, err
	}
	s := &Server{log: filepath.Join(dir, server+".log"), done: make(chan struct{})}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	s.cmd = exec.CommandContext(ctx, python, args...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, log, log
	s.cmd.Env = append(os.Environ(), "FAIRLEAD_BENCH_DATABASE="+database.Host, "FAIRLEAD_BENCH_SECRET="+secret)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait() // by the signal of Stop
	}()
	if err := s.listens(ctx, address); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Server) listens(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		c, err := net.DialTimeout("tcp4", address, time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-s.done:
			return fmt.Errorf("the site has ended:\n%s", s.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("the site does not listen: %w\n%s", err, s.LogTail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// PID returns the process of the site.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// LogTail returns the last lines of the site's log.
func (s *Server) LogTail() string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b[max(0, len(b)-2000):]))
}

// Stop ends the site. It is idempotent.
func (s *Server) Stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-s.done:
	case <-time.After(stopTimeout):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	return nil
}
