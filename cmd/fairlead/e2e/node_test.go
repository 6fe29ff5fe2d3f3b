//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// repository is the root, seen from the tests' folder. Nodes run in it.
const repository = "../../.."

// node is one `fairlead serve` in a process of its own.
type node struct {
	public, internal string // addresses
	cmd              *exec.Cmd
	done             chan struct{} // closed when cmd has ended and its log is read

	mu  sync.Mutex
	log bytes.Buffer // guarded by mu
}

// The head of each configuration: free ports, a log to read, and what a native client needs.
const configHead = `
[listen]
public   = "127.0.0.1:0"
internal = "127.0.0.1:0"

[log]
format = "json"
`

// startNode starts a node with a configuration (behind configHead) and waits until it is ready.
// When the test ends it is killed, if it still runs, and its log is shown if the test failed.
func startNode(t *testing.T, config string) *node {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fairlead.toml")
	if err := os.WriteFile(file, []byte(configHead+config), 0o600); err != nil {
		t.Fatal(err)
	}
	return startNodeFile(t, file)
}

// startNodeFile does the same with a file that is there already. The environment gives it free ports.
func startNodeFile(t *testing.T, file string, env ...string) *node {
	t.Helper()
	n := &node{cmd: exec.Command(programs.fairlead, "serve", "--config", file), done: make(chan struct{})}
	n.cmd.Dir, n.cmd.Env = repository, append(os.Environ(), env...)
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // not to outlive a test binary that crashes
	stderr, err := n.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatalf("fairlead serve: %v", err)
	}
	go func() {
		defer close(n.done)
		n.follow(stderr)
		n.cmd.Wait()
	}()
	t.Cleanup(func() {
		n.cmd.Process.Kill()
		<-n.done
		if t.Failed() {
			t.Logf("log of the node at %s:\n%s", n.public, n.logged())
		}
	})
	eventually(t, 10*time.Second, func() error {
		select {
		case <-n.done:
			t.Fatalf("fairlead serve has ended: %v\n%s", n.cmd.ProcessState, n.logged())
		default:
		}
		if n.findAddresses(); n.public == "" || n.internal == "" {
			return fmt.Errorf("no addresses in the log:\n%s", n.logged())
		}
		return n.ready()
	})
	return n
}

// follow keeps what the node logs.
func (n *node) follow(stderr io.Reader) {
	for r := bufio.NewReader(stderr); ; {
		line, err := r.ReadBytes('\n')
		n.mu.Lock()
		n.log.Write(line)
		n.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (n *node) logged() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.String()
}

// findAddresses takes the addresses from the line that says that the node serves.
func (n *node) findAddresses() {
	for line := range strings.Lines(n.logged()) {
		var l struct{ Public, Internal string }
		if json.Unmarshal([]byte(line), &l) == nil && l.Public != "" && l.Internal != "" {
			n.public, n.internal = l.Public, l.Internal
			return
		}
	}
}

// get asks the internal port.
func (n *node) get(path string) (status int, body string, err error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + n.internal + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// ready returns an error unless /readyz says yes.
func (n *node) ready() error {
	status, body, err := n.get("/readyz?verbose")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("/readyz: %d: %s", status, body)
	}
	return err
}

// notReady returns an error unless /readyz says no and names the check.
func (n *node) notReady(check string) error {
	status, body, err := n.get("/readyz?verbose")
	if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(body, check)) {
		err = fmt.Errorf("/readyz: %d: %s; want 503 because of %s", status, body, check)
	}
	return err
}

// metric returns the sum of all series of the metric. One without a series is 0 only where its name is known at all.
func (n *node) metric(t *testing.T, name string) float64 {
	t.Helper()
	_, body, err := n.get("/metrics")
	if err != nil {
		t.Fatalf("/metrics: %v", err)
	}
	if !strings.Contains(body, "# TYPE "+name+" ") {
		t.Fatalf("/metrics has no %s", name)
	}
	var sum float64
	for line := range strings.Lines(body) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		bare, _, _ := strings.Cut(series, "{")
		if !ok || bare != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("/metrics: %q: %v", line, err)
		}
		sum += v
	}
	return sum
}

// resident returns the resident memory of the process in bytes, as the kernel counts it.
func (n *node) resident(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// signal sends the node a signal.
func (n *node) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal: %v", err)
	}
}

// exit waits for the process to end and returns its exit code, or -1 where a signal ended it.
func (n *node) exit(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-n.done:
		return n.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		t.Fatalf("the process runs after %v", within)
		return 0
	}
}
