package natsd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Package is the server's command: what its module builds.
const Package = "github.com/nats-io/nats-server/v2"

// startTimeout bounds a start; a server with a small store needs some milliseconds.
const startTimeout = 20 * time.Second

// Server is a NATS server, running or not. Its methods are for one goroutine.
type Server struct {
	ctx     context.Context // the processes end with it
	program string
	address string
	dir     string
	cmd     *exec.Cmd // nil: it does not run
}

// Start starts the program with its store in dir, at a free address of the loopback, and waits until it answers. The caller
// stops it; it is killed when ctx ends.
func Start(ctx context.Context, dir, program, address string) (*Server, error) {
	s := &Server{ctx: ctx, program: program, address: address, dir: dir}
	return s, s.Again()
}

// URL returns where clients reach it.
func (s *Server) URL() string { return "nats://" + s.address }

// Again starts a server that was killed, at the same address and with the same store.
func (s *Server) Again() error {
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return err
	}
	s.cmd = exec.CommandContext(s.ctx, s.program, "-a", host, "-p", port, "-js", "-sd", filepath.Join(s.dir, "store"),
		"-l", filepath.Join(s.dir, "nats.log"))
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return fmt.Errorf("nats-server: %w", err)
	}
	for deadline := time.Now().Add(startTimeout); ; {
		err := s.greets()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) || s.ctx.Err() != nil {
			return errors.Join(fmt.Errorf("nats-server does not answer at %s: %w\n%s", s.address, err, s.logTail()), s.Kill())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// greets asks for the line that a NATS server begins with, and waits until JetStream is there as well.
func (s *Server) greets() error {
	c, err := net.DialTimeout("tcp", s.address, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err == nil && (!bytes.HasPrefix(b[:n], []byte("INFO ")) || !bytes.Contains(b[:n], []byte(`"jetstream":true`))) {
		err = errors.New("what answers is no NATS server with JetStream")
	}
	return err
}

// Kill ends the server at once, as a crash would. It is idempotent.
func (s *Server) Kill() error {
	if s.cmd == nil {
		return nil
	}
	_ = s.cmd.Process.Kill() // it may have ended already
	_ = s.cmd.Wait()         // by that signal
	s.cmd = nil
	return nil
}

func (s *Server) logTail() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "nats.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
