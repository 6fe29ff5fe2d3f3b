package main

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What goes away in the database closes its connections within recheck, with the code that says why, and no other; and who
// is refused by a route with reject = "close" is told by the same code. The journal says who decided.
func TestRecheckAndRejectByClose(t *testing.T) {
	dir := t.TempDir()
	fixture, err := os.ReadFile("testdata/django.sqlite3")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "django.sqlite3")
	if err := os.WriteFile(file, fixture, 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "fairlead.toml")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(`
[drain]
window = "0s"
[[verifier]]
name = "drf"
kind = "drf_token"
dsn  = "sqlite:%s"
cache_ttl = "1h"
[[authorizer]]
name   = "member"
kind   = "sql"
dsn    = "sqlite:%s"
query  = "SELECT 1 FROM gate_grant WHERE user_id = :user AND app_id = :id"
params = { user = "int", id = "int" }
[[route]]
path      = "/ws/{group}"
category  = "app"
join      = ["{group}"]
authorize = "member"
reject    = "close"
recheck   = "1s"
credential = [{ from = "header", name = "Authorization", scheme = "Token", verifier = "drf" }]
`, file, file)), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	change := func(statement string, args ...any) {
		t.Helper()
		if r, err := db.Exec(statement, args...); err != nil {
			t.Fatal(err)
		} else if n, err := r.RowsAffected(); err != nil || n == 0 {
			t.Fatalf("%s changed %d rows, %v", statement, n, err)
		}
	}
	s := startServe(t, nil, "--config", config)
	connect := func(key string) *client {
		t.Helper()
		c, err := tryDial(t, "ws://"+s.public+"/ws/app_1234", http.Header{"Authorization": {"Token " + key}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	alice, other, zoë := connect(keys["alice"]), connect(keys["alice"]), connect(keys["zoë"])
	connect(keys["carol"]).wantClosed(4403)
	connect(keys["bob"]).wantClosed(4401)
	connect(keys["unknown"]).wantClosed(4401)

	alice.send("hello")
	alice.want("hello")
	zoë.want("hello")
	change("DELETE FROM gate_grant WHERE user_id = 6")
	start := time.Now()
	zoë.wantClosed(4403)
	change("DELETE FROM authtoken_token WHERE key = ?", keys["alice"])
	again := time.Now()
	alice.want()
	alice.wantClosed(4401)
	other.want("hello")
	other.wantClosed(4401)
	for what, took := range map[string]time.Duration{"the permission": again.Sub(start), "the token": time.Since(again)} {
		if took > 2*time.Second { // a second, and what a busy machine takes
			t.Errorf("%s was gone for %v", what, took)
		}
	}
	connect(keys["alice"]).wantClosed(4401)
	connect(keys["zoë"]).wantClosed(4403)

	_, metrics, err := s.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`fairlead_rechecks_total{result="rejected"} 2`, `fairlead_rechecks_total{result="forbidden"} 1`, "fairlead_rechecked_connections 0",
		`fairlead_handshakes_total{reason="forbidden",result="refused"} 2`, `fairlead_connections 0`,
	} {
		eventually(t, func() error {
			if !strings.Contains(metrics, want) {
				_, metrics, err = s.get("/metrics")
				return fmt.Errorf("no %s (%w)", want, err)
			}
			return nil
		})
	}
	for name, key := range keys {
		if strings.Contains(metrics+s.stderr.String(), key) {
			t.Errorf("the key of %s is in the metrics or the log", name)
		}
	}
}

// A key that is taken out of the configuration closes the connections of its tokens, on routes with recheck; a verifier that
// has another name by now lets them connect again.
func TestReloadRechecks(t *testing.T) {
	const first, second = "first-secret-0123456789-0123456789-0", "second-secret-0123456789-0123456789"
	file := filepath.Join(t.TempDir(), "fairlead.toml")
	write := func(name, secret string) {
		t.Helper()
		route := `
[[route]]
path = %q
join = ["{group}"]
recheck = %q
credential = [{ from = "query", name = "token", verifier = %q }]
`
		text := fmt.Sprintf("[listen]\npublic = \"127.0.0.1:0\"\ninternal = \"127.0.0.1:0\"\n[drain]\nwindow = \"0s\"\n[log]\nformat = \"json\"\n"+
			"[[verifier]]\nname = %q\nkind = \"jwt\"\nalgorithms = [\"HS256\"]\nsecret = %q\n"+route+route, name, secret, "/ws/{group}", "1s", name, "/old/{group}", "0s", name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("jwt", first)
	cmd, out, s := startProcess(t, "--config", file)
	soon := time.Now().Add(time.Hour)
	connect := func(path, secret string) *client {
		return dial(t, "ws://"+s.public+path+"/g?token="+signed(t, secret, 7, soon))
	}
	reloads := 0
	reload := func(name, secret string) {
		t.Helper()
		write(name, secret)
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		reloads++
		eventually(t, func() error {
			if n := strings.Count(out.String(), "the configuration was read again"); n != reloads {
				return fmt.Errorf("%d reloads are logged, want %d", n, reloads)
			}
			return nil
		})
	}
	checked, old := connect("/ws", first), connect("/old", first)
	reload("jwt", second)
	checked.wantClosed(4401)
	later := connect("/ws", second)
	reload("tokens", second)
	later.wantClosed(1012)
	last := connect("/ws", second)
	old.send("still here")
	last.want("still here")
}
