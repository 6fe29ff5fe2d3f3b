package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// reloadable is a configuration of which much is about to change.
type reloadable struct{ secret, origin, limits, level, public, apiKeys string }

func (r reloadable) text() string {
	return fmt.Sprintf(`
[listen]
public   = %q
internal = "127.0.0.1:0"
[api]
keys_file = %q
[limits]
%s
[drain]
window = "50ms"
[log]
level  = %q
format = "json"
[[verifier]]
name = "jwt"
kind = "jwt"
algorithms = ["HS256"]
secret = %q
[[route]]
path = "/ws/{group}"
join = ["{group}"]
origins = [%q]
credential = [{ from = "query", name = "token", verifier = "jwt" }]
`, r.public, r.apiKeys, r.limits, r.level, r.secret, r.origin)
}

// startProcess starts serve in a process of its own, which can be sent signals, and waits until it is ready.
func startProcess(t *testing.T, args ...string) (*exec.Cmd, *output, *serving) {
	t.Helper()
	out := &output{}
	cmd := exec.Command("fairlead", append([]string{"serve"}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("its log:\n%s", out)
		}
	})
	eventually(t, has(out, `"msg":"serving"`))
	s := &serving{stderr: out}
	s.findAddresses()
	eventually(t, func() error { return s.ready(200) })
	return cmd, out, s
}

// SIGHUP takes up a changed key, origin, limit, log level and API key without losing a connection, says what needs a restart,
// and changes nothing at all when there is a mistake.
func TestReload(t *testing.T) {
	const first, second = "first-secret-0123456789-0123456789-0", "second-secret-0123456789-0123456789"
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	apiKeys := write("keys", "ops:first-api-key-0123456789-0123456789\n")
	c := reloadable{first, "https://a.example", "", "info", "127.0.0.1:0", apiKeys}
	file := write("fairlead.toml", c.text())
	cmd, out, s := startProcess(t, "--config", file)
	reloads := 0
	reload := func(text string) {
		t.Helper()
		write("fairlead.toml", text)
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		reloads++
		eventually(t, func() error {
			if n := strings.Count(out.String(), "the configuration was read again") + strings.Count(out.String(), "the configuration has a mistake"); n != reloads {
				return fmt.Errorf("%d reloads are logged, want %d", n, reloads)
			}
			return nil
		})
	}
	soon := time.Now().Add(time.Hour)
	try := func(secret, origin string) int {
		t.Helper()
		c, err := tryDial(t, "ws://"+s.public+"/ws/a?token="+signed(t, secret, 1, soon), http.Header{"Origin": {origin}})
		if err == nil {
			c.conn.Close()
		}
		return status(err)
	}
	api := func(key string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.internal+"/api/v1/nodes", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	stays, err := tryDial(t, "ws://"+s.public+"/ws/stays?token="+signed(t, first, 7, soon), http.Header{"Origin": {"https://a.example"}})
	if err != nil {
		t.Fatal(err)
	}
	lives := func() {
		t.Helper()
		stays.send("still here")
		stays.want("still here")
	}
	check := func(when string, want map[string]int) {
		t.Helper()
		for what, got := range map[string]int{
			"the first key, the first page":  try(first, "https://a.example"),
			"the second key, the first page": try(second, "https://a.example"),
			"the second key and page":        try(second, "https://b.example"),
			"the first API key":              api("first-api-key-0123456789-0123456789"),
			"the second API key":             api("second-api-key-0123456789-0123456789"),
		} {
			if got != want[what] {
				t.Errorf("%s: %s: %d, want %d", when, what, got, want[what])
			}
		}
		lives()
	}
	before := map[string]int{
		"the first key, the first page": 101, "the second key, the first page": 401, "the second key and page": 403,
		"the first API key": 200, "the second API key": 401,
	}
	after := map[string]int{
		"the first key, the first page": 403, "the second key, the first page": 403, "the second key and page": 101,
		"the first API key": 401, "the second API key": 200,
	}
	check("before", before)
	if strings.Contains(out.String(), "handshake refused") {
		t.Error("the log has a line of level debug")
	}

	// Mistakes: in the syntax, in a key, and in what a key means.
	for wrong, want := range map[string]string{
		"[[": "this is no TOML",
		strings.Replace(c.text(), "origins", "orgins", 1):                            "route[0].orgins: ",
		strings.Replace(c.text(), `origins = ["https`, `origins = ["https//`, 1):     "route[0].origins: ",
		strings.Replace(c.text(), `keys_file = "`, `keys_file = "/none`, 1):          "api.keys_file: ",
		strings.Replace(c.text(), `"{group}"`, `"{group}-{none}"`, 1):                "route[0]: ",
		strings.Replace(c.text(), `algorithms = ["HS256"]`, `algorithms = ["x"]`, 1): "verifier[0]",
	} {
		if wrong != "[[" { // whatever else has changed is not taken up either
			wrong = strings.Replace(strings.Replace(wrong, first, second, 1), `"info"`, `"debug"`, 1)
		}
		reload(wrong)
		eventually(t, has(out, want))
		check(want, before)
	}
	if strings.Contains(out.String(), "handshake refused") {
		t.Error("the log has a line of level debug")
	}

	write("keys", "ops:second-api-key-0123456789-0123456789\n")
	c = reloadable{second, "https://b.example", "max_age = \"1h\"\nhead_bytes = 20000", "debug", "127.0.0.1:1", apiKeys}
	reload(c.text())
	check("after", after)
	for _, want := range []string{
		`"changed":["limits.max_age","log.level","verifier","route"]`, `"keys":["listen.public","limits.head_bytes"]`, "handshake refused",
	} {
		eventually(t, has(out, want))
	}

	c.limits = "connections = 2"
	reload(c.text())
	eventually(t, func() error { // those that tried are gone
		if v := metric(t, s, "fairlead_connections"); v != "1" {
			return fmt.Errorf("%s connections", v)
		}
		return nil
	})
	more, err := tryDial(t, "ws://"+s.public+"/ws/a?token="+signed(t, second, 1, soon), http.Header{"Origin": {"https://b.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := try(second, "https://b.example"); got != 503 {
		t.Errorf("a third connection of two: %d, want 503", got)
	}
	if v := metric(t, s, "fairlead_connections_limit"); v != "2" {
		t.Errorf("connections_limit = %s, want 2", v)
	}
	lives()
	more.conn.Close()
	if ok, failed := metric(t, s, `fairlead_config_reloads_total{result="ok"}`), metric(t, s, `fairlead_config_reloads_total{result="error"}`); ok != "2" || failed != "6" {
		t.Errorf("%s reloads and %s that failed, want 2 and 6", ok, failed)
	}
	for _, secret := range []string{first, second, "first-api-key", "second-api-key"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("the log has the secret %s", secret)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	stays.wantClosed(1012)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// However often the configuration is taken up, no client notices: what the routes from before ask is closed behind the last
// handshake that asks it, and nothing is left when the node ends.
func TestReloadUnderLoad(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	load := func() (*config.Loaded, error) {
		return config.Load(config.Source{File: "cmd/fairlead/testdata/seed/header-token.toml", Getenv: getenv([]string{
			"FAIRLEAD_LISTEN_PUBLIC=127.0.0.1:0", "FAIRLEAD_LISTEN_INTERNAL=127.0.0.1:0", "FAIRLEAD_DRAIN_WINDOW=10ms",
		})})
	}
	l, err := load()
	if err != nil {
		t.Fatal(err)
	}
	var log output
	n, err := newNode(t.Context(), l, newLogger(&log, l.Log))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.begin(); err != nil {
		t.Fatal(errors.Join(err, n.close()))
	}
	served, stop := make(chan error, 1), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { served <- n.serve(ctx) }()
	header := http.Header{"Authorization": {"Token " + keys["alice"]}}
	var clients sync.WaitGroup
	var in atomic.Int32
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := tryDial(t, "ws://"+n.public.Addr().String()+"/ws/a", header)
				if err != nil {
					t.Errorf("a client during a reload: %v", err)
					return
				}
				in.Add(1)
				c.conn.Close()
			}
		})
	}
	for range 30 {
		was := in.Load()
		eventually(t, func() error {
			if in.Load() == was {
				return errors.New("nobody got in")
			}
			return nil
		})
		n.reload(t.Context(), load)
	}
	close(stop)
	clients.Wait()
	cancel()
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if count := strings.Count(log.String(), "was read again"); count != 30 {
		t.Errorf("%d reloads are logged, want 30:\n%s", count, log.String())
	}
	n.reload(t.Context(), load) // too late: nothing is taken up, and nothing left open
	if count := strings.Count(log.String(), "was read again"); count != 30 || strings.Contains(log.String(), "mistake") {
		t.Errorf("a node that has ended took up its configuration:\n%s", log.String())
	}
}

// docs/config.md names what is taken up, and nothing else.
func TestReloadableKeysAreDocumented(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "config.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## Reload\n")
	section, _, _ = strings.Cut(section, "\n## ")
	documented := map[string]bool{}
	for row := range strings.Lines(section) {
		table, names, ok := strings.Cut(strings.TrimPrefix(row, "| `["), "]` | ")
		if !ok {
			continue
		}
		for name := range strings.SplitSeq(names, "`") {
			if table = strings.Trim(table, "[]"); strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") == "" && name != "" {
				documented[table+"."+name] = true
			}
		}
		if strings.Contains(names, "all") {
			documented[table] = true
		}
	}
	for _, key := range config.Reloadable() {
		table, _, _ := strings.Cut(key, ".")
		if !documented[key] && !documented[table] {
			t.Errorf("docs/config.md, Reload, does not have %s", key)
		}
		delete(documented, key)
	}
	for key := range documented {
		if strings.Contains(key, ".") {
			t.Errorf("docs/config.md, Reload, has %s, which needs a restart", key)
		}
	}
}
