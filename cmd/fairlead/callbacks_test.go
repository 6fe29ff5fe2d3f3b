package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const withCallback = `
[[verifier]]
name = "app"
kind = "callback"
url = "%[1]s/who?x=1"
forward = ["Cookie"]
secret = "%[2]s"
timeout = "5s"

[[authorizer]]
name = "ask"
kind = "callback"
url = "%[1]s/may"
secret = "%[2]s"
timeout = "5s"

[[route]]
path = "/ws/{group}"
join = ["{group}"]
authorize = "ask"
anonymous = "allow"
greet = true
credential = [{ from = "request", verifier = "app" }]
[drain]
window = "50ms"
`

// TestCallback: an application decides who comes in, by its own cookie, and into which group; and can tell who asks.
func TestCallback(t *testing.T) {
	questions := make(chan *http.Request, 100)
	mux := http.NewServeMux()
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		questions <- r
		c, err := r.Cookie("session")
		switch {
		case err != nil:
			w.WriteHeader(http.StatusNoContent)
		case c.Value == "bad":
			http.Redirect(w, r, "/login", http.StatusFound)
		case c.Value == "down":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			fmt.Fprintf(w, `{"subject":%q}`, c.Value)
		}
	})
	mux.HandleFunc("/may", func(w http.ResponseWriter, r *http.Request) {
		questions <- r
		if subject, group := r.Header.Get("Fairlead-Subject"), r.Header.Get("Fairlead-Group"); group != "open" && group != "of_"+subject {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	app := httptest.NewServer(mux)
	defer app.Close()
	secret := strings.Repeat("k", 32)
	file := writeFile(t, "fairlead.toml", fmt.Sprintf(withCallback, app.URL, secret))
	s := startServe(t, nil, "--config", file)

	for _, tt := range []struct {
		group, cookie string
		want          int // 0: let in
		who           string
	}{
		{"of_42", "session=42", 0, `"subject":"42"`},
		{"of_41", "session=42", 403, ""},
		{"open", "other=1", 0, `"anonymous":true`},
		{"of_", "other=1", 0, `"anonymous":true`},
		{"open", "session=bad", 401, ""},
		{"open", "session=down", 503, ""},
	} {
		c, err := tryDial(t, "ws://"+s.public+"/ws/"+tt.group+"?token=QUERYSECRET", http.Header{"Cookie": {tt.cookie}})
		if tt.want != 0 {
			if !isRefused(err, tt.want) {
				t.Errorf("%s with %s: %v, want %d", tt.group, tt.cookie, err, tt.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s with %s: %v", tt.group, tt.cookie, err)
			continue
		}
		if greeting, err := c.read(); err != nil || !strings.Contains(string(greeting.Payload), tt.who) {
			t.Errorf("%s with %s: greeted with %s, %v", tt.group, tt.cookie, greeting.Payload, err)
		}
	}
	if got := metric(t, s, `fairlead_callback_requests_total{kind="verifier",name="app",result="rejected"}`); got != "1" {
		t.Errorf("%s are counted as rejected", got)
	}
	if log := s.stderr.String(); strings.Contains(log, "SECRET") || strings.Contains(log, secret) || strings.Contains(log, "session=") {
		t.Errorf("a secret is in the log:\n%s", log)
	}
	got := fairlead(t, "", nil, "doctor", "--config", file)
	if !strings.Contains(got.stdout, "verifier app: what it asks answers in") || !strings.Contains(got.stdout, "authorizer ask: what it asks answers in") {
		t.Errorf("doctor: %s%s", got.stdout, got.stderr)
	}
	close(questions)
	checkInPython(t, questions, secret)
}

// checkInPython lets the function of docs/credentials.md look at questions, as they are and changed.
func checkInPython(t *testing.T, questions <-chan *http.Request, secret string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "credentials.md"))
	if err != nil {
		t.Fatal(err)
	}
	function := regexp.MustCompile("(?ms)^```python\n(import hashlib.*?)^```$").FindSubmatch(page)
	if function == nil {
		t.Fatal("the page has no Python that looks at a signature")
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatalf("the function in docs/credentials.md cannot be tried: %v", err)
	}
	var text bytes.Buffer
	text.Write(function[1])
	text.WriteString(`
class Headers(dict):
    def get(self, name, default=None):
        return super().get(name.lower(), default)
class Request:
    method = "GET"
    def __init__(self, path, headers):
        self.path, self.headers = path, Headers(headers)
    def get_full_path(self):
        return self.path
`)
	var want strings.Builder
	check := func(r *http.Request, secret, change, ok string) {
		fmt.Fprintf(&text, "headers = {")
		for name := range r.Header {
			fmt.Fprintf(&text, "%q: %q, ", strings.ToLower(name), r.Header.Get(name))
		}
		fmt.Fprintf(&text, "}\n%s\nprint(is_fairlead(Request(%q, headers), %q.encode()))\n", change, r.RequestURI, secret)
		fmt.Fprintln(&want, ok)
	}
	n := 0
	for r := range questions {
		n++
		check(r, secret, "", "True")
		check(r, strings.ToUpper(secret), "", "False")
		check(r, secret, `headers["fairlead-path"] = "/ws/other"`, "False")
		check(r, secret, `headers["cookie"] = headers["x-forwarded-for"] = "1"`, "False")
		check(r, secret, fmt.Sprintf(`headers["fairlead-timestamp"] = "%d"`, time.Now().Add(-time.Hour).Unix()), "False")
		check(r, secret, "headers = {}", "False")
		check(r, secret, `headers["fairlead-timestamp"] = "now"`, "False")
		check(r, secret, `headers["fairlead-signature"] = "v1=\u00e9"`, "False")
	}
	if n < 10 {
		t.Fatalf("%d questions came", n)
	}
	out, err := exec.CommandContext(t.Context(), python, "-c", text.String()).CombinedOutput()
	if err != nil || string(out) != want.String() {
		t.Errorf("%v\n%s\nwant\n%s", err, out, want.String())
	}
}

// TestCallbackRecheck: who the application does not know any more is sent away, by the cookie that is kept, whatever the cache says.
func TestCallbackRecheck(t *testing.T) {
	var gone, left atomic.Bool
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := r.Cookie("session")
		switch {
		case err != nil, c.Value == "ann" && gone.Load() && r.URL.Path != "/may": // that of a check under way would be 4403
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/may" && r.Header.Get("Fairlead-Subject") == "bob" && left.Load():
			w.WriteHeader(http.StatusForbidden)
		default:
			fmt.Fprintf(w, `{"subject":%q}`, c.Value)
		}
	}))
	defer app.Close()
	text := fmt.Sprintf(withCallback, app.URL, strings.Repeat("k", 32))
	text = strings.ReplaceAll(strings.Replace(text, "greet = true", "recheck = \"1s\"", 1), `/may"`, "/may\"\nforward = [\"Cookie\"]")
	s := startServe(t, nil, "--config", writeFile(t, "fairlead.toml", text))
	come := func(who string) *client {
		c, err := tryDial(t, "ws://"+s.public+"/ws/room", http.Header{"Cookie": {"session=" + who}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ann, bob, cid := come("ann"), come("bob"), come("cid")
	gone.Store(true)
	ann.wantClosed(4401)
	left.Store(true)
	bob.wantClosed(4403)
	cid.send("still here")
	cid.want("still here")
}

const withHangingCallback = `
[limits]
handshake_timeout = %q
[[verifier]]
name = "app"
kind = "callback"
url = "%[2]s/who"
%[3]s

[[authorizer]]
name = "ask"
kind = "callback"
url = "%[2]s/may"
%[3]s

[[route]]
path = "/who"
credential = [{ from = "query", name = "token", verifier = "app" }]

[[route]]
path = "/may/{group}"
join = ["{group}"]
authorize = "ask"
anonymous = "allow"
[drain]
window = "50ms"
`

// TestCallbackHangs: an application that hangs is left alone although a handshake ends before the time for an answer; also
// when a longer time for both is read while the node serves, since that of handshakes counts from the next start on.
func TestCallbackHangs(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer app.Close()
	file := writeFile(t, "fairlead.toml", fmt.Sprintf(withHangingCallback, "200ms", app.URL, ""))
	cmd, out, s := startProcess(t, "--config", file, "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0", "--log-format", "json")
	breaks := func(when string) {
		t.Helper()
		for kind, target := range map[string]string{`kind="verifier",name="app"`: "/who?token=", `kind="authorizer",name="ask"`: "/may/"} {
			eventually(t, func() error {
				var dials sync.WaitGroup
				for i := range 10 {
					dials.Go(func() {
						if _, err := tryDial(t, fmt.Sprintf("ws://%s%s%d", s.public, target, i), nil); !isRefused(err, 503) {
							t.Errorf("%s: %v, want 503", when, err)
						}
					})
				}
				dials.Wait()
				if state := metric(t, s, "fairlead_callback_breaker_state{"+kind+"}"); state != "2" {
					return fmt.Errorf("%s: the breaker of %s is in state %s, want 2: open", when, kind, state)
				}
				return nil
			})
		}
	}
	breaks("at the start")
	if err := os.WriteFile(file, fmt.Appendf(nil, withHangingCallback, "20s", app.URL, `timeout = "12s"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, has(out, `"keys":["limits.handshake_timeout"]`))
	breaks("after a reload")
}

// Where the application lets everybody in, nobody is refused with 503.
func TestDoctorKnowsEverybody(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"subject":1}`)) }))
	defer app.Close()
	d := newDoctor(t, "[[verifier]]\nname = \"app\"\nkind = \"callback\"\nurl = \""+app.URL+"\"\n"+anyone, nil)
	d.databases(t.Context())
	if got := d.found("verifier app"); !strings.HasPrefix(got, "fail: the application knows who a client without any credential is") || !strings.HasSuffix(got, "nobody would be refused") {
		t.Errorf("got %q", got)
	}
}

// A query that may let anybody in is a warning: it may list who is not to join.
func TestDoctorAllowsEverybody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db.sqlite3")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDoctor(t, "[[authorizer]]\nname = \"member\"\nkind = \"sql\"\ndsn = \"sqlite:"+path+"\"\nquery = \"SELECT 1 WHERE :user <> :group\"\n"+anyone, nil)
	d.databases(t.Context())
	if got := d.found("authorizer member"); !strings.HasPrefix(got, "ok: ") {
		t.Errorf("user 0 is not unlike group 0: %q", got)
	}
	d = newDoctor(t, "[[authorizer]]\nname = \"member\"\nkind = \"sql\"\ndsn = \"sqlite:"+path+"\"\nquery = \"SELECT :user IS NOT NULL\"\n"+anyone, nil)
	d.databases(t.Context())
	if got := d.found("authorizer member"); !strings.HasPrefix(got, "warn: the query allows user \"0\"") {
		t.Errorf("got %q", got)
	}
}
