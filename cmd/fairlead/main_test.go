package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// leakChecked is the tests of the package, which leave no goroutine behind.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// TestMain also puts the program itself into PATH, as fairlead.
func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"fairlead": main})
}

// output is a writer that tests read while a command writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// result is how a command ended.
type result struct {
	stdout, stderr string
	code           int
}

// fairlead runs the program to its end. Its environment is what env says and nothing else.
func fairlead(t *testing.T, stdin string, env []string, args ...string) result {
	t.Helper()
	var stdout, stderr output
	err := run(t.Context(), append([]string{"fairlead"}, args...), getenv(env), strings.NewReader(stdin), &stdout, &stderr)
	code := report(&stderr, err)
	return result{stdout.String(), stderr.String(), code}
}

// getenv returns the values of NAME=VALUE pairs.
func getenv(env []string) func(string) string {
	return func(name string) string {
		for _, pair := range env {
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

// eventually asks ok until it returns nil, and fails the test when that does not happen in ten seconds.
func eventually(t *testing.T, ok func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// writeFile writes a file into a folder of the test's own, and returns its path.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
