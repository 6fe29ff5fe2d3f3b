//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The programs under test, built once by TestMain.
var programs struct{ fairlead, nats string }

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "fairlead-e2e-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	// As deploy/Dockerfile builds, so that what is built here is not built there again.
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+string(filepath.Separator),
		"github.com/fairlead-ws/fairlead/cmd/fairlead", "github.com/nats-io/nats-server/v2")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build: %w\n%s", err, out)
	}
	programs.fairlead = filepath.Join(dir, "fairlead")
	programs.nats = filepath.Join(dir, "nats-server")

	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			return 0, err
		}
	}
	return code, nil
}

// eventually calls ok until it returns nil, and fails the test when that takes longer than within.
func eventually(t *testing.T, within time.Duration, ok func() error) {
	t.Helper()
	err := ok()
	if err == nil {
		return
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		<-tick.C
		if err = ok(); err == nil {
			return
		}
	}
	t.Fatalf("not within %v: %v", within, err)
}
