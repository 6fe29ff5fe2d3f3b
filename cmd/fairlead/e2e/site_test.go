//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Debian's Python, with Debian's Django: another that comes first in PATH has none.
const python = "/usr/bin/python3"

// The site has a loopback address of its own, and so has the API of a node that it asks for tickets.
const (
	siteHost, sitePort = "127.0.0.41", "8001"
	siteOrigin         = "http://" + siteHost + ":" + sitePort
	siteAPI            = "127.0.0.42:9000"
)

// djangoSite is examples/django, served by Django itself.
type djangoSite struct {
	dir string
	env []string
}

// newSite makes the tables of the site and its people in the database: alice and bob, of rooms 1 and 2. It does not serve.
func newSite(t *testing.T, dsn string) *djangoSite {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(repository, "examples/django"))
	if err != nil {
		t.Fatal(err)
	}
	s := &djangoSite{dir: dir, env: append(os.Environ(), "DATABASE_URL="+dsn, "PYTHONDONTWRITEBYTECODE=1",
		"DJANGO_ALLOWED_HOSTS="+siteHost, "DJANGO_FAST_PASSWORDS=1", "FAIRLEAD_API=http://"+siteAPI)}
	s.manage(t, "migrate", "-v0")
	s.manage(t, "demo")
	return s
}

// manage runs a command of manage.py and returns what it says.
func (s *djangoSite) manage(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python, append([]string{"manage.py"}, args...)...)
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("manage.py %s: %v\n%s", args[0], err, out)
	}
	return string(out)
}

// do runs a line of Python in the site.
func (s *djangoSite) do(t *testing.T, code string) string {
	t.Helper()
	return strings.TrimSpace(s.manage(t, "shell", "-c",
		"from django.contrib.auth.models import User; from rest_framework.authtoken.models import Token; from rooms.models import Room; "+code))
}

// serve serves the site until the test ends or stop is called. env is for this run alone.
func (s *djangoSite) serve(t *testing.T, env ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(python, "manage.py", "runserver", "--noreload", net.JoinHostPort(siteHost, sitePort))
	cmd.Dir, cmd.Env = s.dir, append(s.env, env...)
	p := startProcess(t, "python3-django", cmd)
	eventually(t, 30*time.Second, func() error {
		if err := p.running(); err != nil {
			t.Fatalf("%v\n%s", err, p.logged())
		}
		status, _, err := fetch(siteOrigin + "/login/")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("the page for logging in: %d", status)
		}
		return err
	})
	return func() {
		cmd.Process.Kill()
		<-p.done
	}
}

// browser is a visitor of the site.
type browser struct {
	client *http.Client
	home   *url.URL
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	home, err := url.Parse(siteOrigin + "/")
	if err != nil {
		t.Fatal(err)
	}
	return &browser{&http.Client{Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}, home}
}

// cookie returns the value of a cookie of the site, "" where there is none.
func (b *browser) cookie(name string) string {
	for _, c := range b.client.Jar.Cookies(b.home) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// post sends a form of the site, whose token against forged requests it has from the page for logging in.
func (b *browser) post(t *testing.T, path string, form url.Values) (body []byte) {
	t.Helper()
	if b.cookie("csrftoken") == "" {
		resp, err := b.client.Get(siteOrigin + "/login/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, siteOrigin+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-CSRFToken", b.cookie("csrftoken"))
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 400 {
		t.Fatalf("POST %s: %d, %v\n%.500s", path, resp.StatusCode, err, body)
	}
	return body
}

// answer posts and returns a member of the JSON that comes.
func (b *browser) answer(t *testing.T, path string, form url.Values, member string) string {
	t.Helper()
	var v map[string]any
	body := b.post(t, path, form)
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("POST %s: %v\n%.500s", path, err, body)
	}
	text, _ := v[member].(string)
	if text == "" {
		t.Fatalf("POST %s: no %s", path, member)
	}
	return text
}

// login logs in and returns the session's cookie.
func login(t *testing.T, user, password string) *browser {
	t.Helper()
	b := newBrowser(t)
	b.post(t, "/login/", url.Values{"username": {user}, "password": {password}})
	if b.cookie("sessionid") == "" {
		t.Fatalf("%s cannot log in", user)
	}
	return b
}

// session returns the header line with the session's cookie.
func (b *browser) session() string { return "Cookie: sessionid=" + b.cookie("sessionid") }

// jwt asks the site for a JWT and returns the header line with it, without the session.
func (b *browser) jwt(t *testing.T) string {
	t.Helper()
	b.post(t, "/api/jwt/", nil)
	return "Cookie: JWT=" + b.cookie("JWT")
}

// knows returns who Django takes a request with that header line for: "alice", or "" for nobody.
func (s *djangoSite) knows(t *testing.T, header string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, siteOrigin+"/api/whoami/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if name, value, ok := strings.Cut(header, ": "); ok {
		req.Header.Set(name, value)
	}
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return ""
	case http.StatusOK:
	default:
		t.Fatalf("/api/whoami/: %d", resp.StatusCode)
	}
	var id struct{ Subject, Name string }
	if err := json.NewDecoder(resp.Body).Decode(&id); err != nil || id.Name == "" || id.Subject == "" {
		t.Fatalf("/api/whoami/: %+v, %v", id, err)
	}
	return id.Subject + " " + id.Name
}

// startSiteNode starts a node with the configuration of examples/django.
func startSiteNode(t *testing.T, dsn string, env ...string) *node {
	t.Helper()
	all := []string{
		"FAIRLEAD_LISTEN_PUBLIC=127.0.0.1:0", "FAIRLEAD_LISTEN_INTERNAL=127.0.0.1:0", "FAIRLEAD_LOG_FORMAT=json",
		"FAIRLEAD_VERIFIER_DRF_DSN=" + dsn, "FAIRLEAD_VERIFIER_SESSION_DSN=" + dsn, "FAIRLEAD_VERIFIER_JWT_USERS=" + dsn,
		"FAIRLEAD_AUTHORIZER_MEMBER_DSN=" + dsn,
		"FAIRLEAD_VERIFIER_SITE_URL=" + siteOrigin + "/fairlead/who/", "FAIRLEAD_AUTHORIZER_ASK_URL=" + siteOrigin + "/fairlead/may-join/",
	}
	for i := range 7 {
		all = append(all, fmt.Sprintf("FAIRLEAD_ROUTE_%d_ORIGINS=%s", i, siteOrigin))
	}
	return startNodeFile(t, "examples/django/fairlead.toml", append(all, env...)...)
}
