package natsd

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-ws/fairlead/bench/internal/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestServer starts a real server, kills it, and starts it again.
func TestServer(t *testing.T) {
	dir := t.TempDir()
	program, err := server.Build(t.Context(), dir, "nats-server", Package)
	if err != nil {
		t.Fatal(err)
	}
	address, err := server.FreeAddress("")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Start(t.Context(), dir, program, address)
	if err != nil {
		t.Fatal(err)
	}
	if s.URL() != "nats://"+address {
		t.Errorf("URL %s", s.URL())
	}
	for range 2 {
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
	}
	if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		c.Close()
		t.Error("a killed server answers")
	}
	if err := s.Again(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "store")); err != nil {
		t.Error(err)
	}
	if err := s.Kill(); err != nil {
		t.Error(err)
	}
}

// TestFails has a program that is none, and one that is no NATS server.
func TestFails(t *testing.T) {
	dir := t.TempDir()
	if _, err := Start(t.Context(), dir, filepath.Join(dir, "none"), "127.0.0.1:1"); err == nil {
		t.Error("a program that is not there starts")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, dir, "sleep", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "does not answer at 127.0.0.1:1") {
		t.Errorf("a program that does not listen: %v", err)
	}
}
