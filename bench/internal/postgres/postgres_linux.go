package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Times for starting and stopping.
const (
	startTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
)

// superuser is the role that may do anything, without a password, from this machine alone.
const superuser = "django"

// ErrMissing is returned by [Start] where PostgreSQL is not installed.
var ErrMissing = errors.New("no PostgreSQL here: want initdb in PATH or in /usr/lib/postgresql/*/bin (Debian: apt-get install postgresql)")

// Server is a running server. Its methods are for one goroutine.
type Server struct {
	address string
	dir     string
	cmd     *exec.Cmd // nil: stopped
	done    chan struct{}
}

// Start makes a database cluster in a new folder and starts a server for it at the address, on the loopback. It waits until
// it answers. As root the server runs as the user postgres or nobody, since it refuses root. The caller stops it; it is killed
// when ctx ends.
func Start(ctx context.Context, address string) (s *Server, err error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	as, err := owner()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "fairlead-bench-postgres-")
	if err != nil {
		return nil, err
	}
	s = &Server{address: address, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			return nil, err
		}
	}
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+dir)
		return cmd
	}
	data := filepath.Join(dir, "data")
	out, err := command("initdb", "-D", data, "-U", superuser, "-A", "trust", "-E", "UTF8", "--no-sync").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, bytes.TrimSpace(out))
	}
	log, err := os.Create(s.log())
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	// No fsync: nothing is measured that writes. The statistics count every statement.
	cmd := command("postgres", "-D", data, "-h", host, "-p", port, "-k", dir, "-c", "fsync=off",
		"-c", "shared_preload_libraries=pg_stat_statements", "-c", "pg_stat_statements.save=off")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	s.cmd, s.done = cmd, make(chan struct{})
	go func() {
		defer close(s.done)
		_ = cmd.Wait() // by the signal of Stop
	}()
	for deadline := time.Now().Add(startTimeout); command("pg_isready", "-q", "-d", s.DSN()).Run() != nil; {
		select {
		case <-s.done:
			return nil, fmt.Errorf("postgres has ended\n%s", s.logTail())
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("postgres does not answer at %s\n%s", address, s.logTail())
		}
	}
	return s, nil
}

// DSN returns where clients reach it, as a role that may do anything.
func (s *Server) DSN() string {
	return "postgres://" + superuser + "@" + s.address + "/postgres?sslmode=disable"
}

// Stop ends the server and removes its folder. It is idempotent.
func (s *Server) Stop() error {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGINT) // the fast shutdown; it may have ended already
		select {
		case <-s.done:
		case <-time.After(stopTimeout):
			_ = s.cmd.Process.Signal(syscall.SIGQUIT) // the immediate one
			<-s.done
		}
		s.cmd = nil
	}
	return os.RemoveAll(s.dir)
}

func (s *Server) log() string { return filepath.Join(s.dir, "postgres.log") }

func (s *Server) logTail() string {
	b, err := os.ReadFile(s.log())
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b[max(0, len(b)-2000):]))
}

// programs returns the folder of the server's programs: that of initdb in PATH, or the newest of Debian's.
func programs() (string, error) {
	if p, err := exec.LookPath("initdb"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil { // its siblings are where it really is
			return filepath.Dir(p), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", ErrMissing
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// owner is whom the server runs as. Nil: the user of this process.
func owner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // no credential is what os/exec takes for "as this process"
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("running as root, and there is neither a user postgres nor nobody to run PostgreSQL as")
}
