package server

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead-ws/fairlead/bench/internal/proc"
)

// stub is a server as far as Start can see: it takes the arguments, reads its configuration, answers on the internal port.
const stub = `package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strings"
)

func main() {
	fmt.Fprintln(os.Stderr, "stub:", os.Args[1:], os.Getenv("FAIRLEAD_LOG_LEVEL")+"|"+os.Getenv("HOME_OF_STUB"))
	f, err := os.Open(os.Args[3])
	if err != nil || os.Args[1] != "serve" || os.Args[2] != "--config" || os.Getenv("STUB_FAILS") != "" {
		fmt.Fprintln(os.Stderr, "stub: cannot serve")
		os.Exit(1)
	}
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "listen.internal = "); ok {
			http.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
			http.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "up 1") })
			http.ListenAndServe(strings.Trim(v, "\""), nil)
		}
	}
}
`

func buildStub(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "main.go")
	if err := os.WriteFile(file, []byte(stub), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := Build(t.Context(), dir, "server", file)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func TestServer(t *testing.T) {
	program, dir := buildStub(t), t.TempDir()
	t.Setenv("FAIRLEAD_LOG_LEVEL", "debug")
	t.Setenv("HOME_OF_STUB", "kept")
	s, err := Start(t.Context(), dir, program, Config{Secret: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.Metrics(t.Context()); err != nil || m["up"] != 1 {
		t.Errorf("metrics %v, %v", m, err)
	}
	if log := s.LogTail(); !strings.Contains(log, "stub: [serve --config "+dir) || !strings.Contains(log, "|kept") || strings.Contains(log, "debug") {
		t.Errorf("the server's log has %q", log)
	}
	if s.Address == "" || "http://"+s.Address == s.Internal {
		t.Errorf("public %q, internal %q", s.Address, s.Internal)
	}
	if err := unix.Kill(s.PID(), 0); err != nil {
		t.Errorf("process %d: %v", s.PID(), err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if err := s.Stop(); err == nil {
		t.Error("stopped twice")
	}
}

func TestStartFails(t *testing.T) {
	program := buildStub(t)
	t.Setenv("STUB_FAILS", "yes")
	if _, err := Start(t.Context(), t.TempDir(), program, Config{}); err == nil || !strings.Contains(err.Error(), "stub: cannot serve") {
		t.Errorf("got %v; want the server's last words", err)
	}
	if _, err := Start(t.Context(), t.TempDir(), "/nonexistent/server", Config{}); err == nil {
		t.Error("a program that is not there starts")
	}
	if _, err := Start(t.Context(), "/nonexistent", program, Config{}); err == nil {
		t.Error("a folder that is not there holds a configuration")
	}
	if _, err := Build(t.Context(), t.TempDir(), "server", "./nonexistent"); err == nil {
		t.Error("a package that is not there builds")
	}
}

func TestFreeAddress(t *testing.T) {
	first, err := proc.EphemeralFrom()
	if err != nil {
		t.Fatal(err)
	}
	a, err := FreeAddress("")
	if err != nil {
		t.Fatal(err)
	}
	b, err := FreeAddress(a)
	if err != nil || a == b {
		t.Fatalf("%s, %v beside %s", b, err, a)
	}
	if port := netip.MustParseAddrPort(a).Port(); first > 1024 && int(port) >= first {
		t.Errorf("port %d is in the clients' range from %d on", port, first)
	}
	l, err := net.Listen("tcp4", a)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err := FreeAddress(""); err != nil || c == a {
		t.Errorf("%s, %v: that is taken", c, err)
	}
}
