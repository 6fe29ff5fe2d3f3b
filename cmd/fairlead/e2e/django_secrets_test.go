//go:build e2e

package e2e

import (
	"encoding/json"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDjangoSecrets: after a run with every kind of credential, good ones and bad ones, none of them stands in the log, the
// metrics, the API's answers, the commands' or the journal's files.
func TestDjangoSecrets(t *testing.T) {
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "db.sqlite3")
	site := newSite(t, dsn)
	site.serve(t)
	store := t.TempDir()
	n := startSiteNode(t, dsn, "FAIRLEAD_LOG_LEVEL=debug", "FAIRLEAD_NATS_STORE_DIR="+store, "FAIRLEAD_LISTEN_INTERNAL="+siteAPI,
		"FAIRLEAD_DRAIN_WINDOW=100ms")

	alice := login(t, "alice", "alice-pw")
	origin := "Origin: " + siteOrigin
	jwt, session := alice.jwt(t), alice.session()
	token := site.keyOf(t, "alice")
	ticket := alice.answer(t, "/api/ticket/", nil, "ticket")
	grant := alice.answer(t, "/api/grant/1/", nil, "grant")
	bad := map[string]string{
		"token": strings.Repeat("5eC3e7", 7), "session": strings.Repeat("bad5e551", 4), "jwt": changed(strings.TrimPrefix(jwt, "Cookie: JWT=")),
		"ticket": changed(ticket), "grant": changed(grant),
	}
	var clients []*client
	for _, in := range []struct{ target, header string }{
		{"/by-session/room_1", session},
		{"/by-jwt/room_1", jwt},
		{"/by-token/room_1", "Authorization: Token " + token},
		{"/by-token/room_1", "Sec-WebSocket-Protocol: harbour, token." + token},
		{"/by-ticket/room_1?ticket=" + url.QueryEscape(ticket), "X-Nothing: x"},
		{"/by-grant/room_1?grant=" + url.QueryEscape(grant), session},
		{"/by-callback/room_1", "Authorization: Token " + token},
		{"/by-callback/room_1", session},
		{"/whoami", "Authorization: Token " + token},
	} {
		clients = append(clients, dial(t, n.public, in.target, origin, in.header))
	}
	for i, c := range clients {
		if err := c.open(); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
	for _, out := range []struct{ target, header string }{
		{"/by-session/room_1", "Cookie: sessionid=" + bad["session"]},
		{"/by-jwt/room_1", "Cookie: JWT=" + bad["jwt"]},
		{"/by-token/room_1", "Authorization: Token " + bad["token"]},
		{"/by-token/room_1", "Sec-WebSocket-Protocol: harbour, token." + bad["token"]},
		{"/by-ticket/room_1?ticket=" + url.QueryEscape(bad["ticket"]), "X-Nothing: x"},
		{"/by-ticket/room_1?ticket=" + url.QueryEscape(ticket), "X-Nothing: x"}, // which is spent
		{"/by-grant/room_1?grant=" + url.QueryEscape(bad["grant"]), session},
		{"/by-callback/room_1", "Authorization: Token " + bad["token"]},
	} {
		c := dial(t, n.public, out.target, origin, out.header) // reject = "close"
		if code, _ := c.wait(t, 5*time.Second); code != 4401 && code != 4403 {
			t.Errorf("%s was closed with %d, want 4401 or 4403", strings.SplitN(out.target, "?", 2)[0], code)
		}
	}
	for _, out := range []struct{ target, header string }{
		{"/whoami", "Authorization: Token " + bad["token"]},
		{"/whoami", "Authorization: Token"},
		{"/nowhere?token=" + token, "X-Nothing: x"},
		{"/whoami?token=" + token, "Cookie: JWT=" + bad["jwt"]},
	} {
		if _, err := tryDial(t, n.public, out.target, out.header); err == nil {
			t.Errorf("%s let a bad one in", strings.SplitN(out.target, "?", 2)[0])
		}
	}

	said := map[string]string{}
	for _, path := range []string{"/metrics", "/readyz?verbose", "/api/v1/sessions", "/api/v1/groups", "/api/v1/nodes", "/api/v1/users/1/sessions"} {
		_, body, err := n.get(path)
		if err != nil {
			t.Fatal(err)
		}
		said[path] = body
	}
	var open struct{ Sessions []struct{ ID string } }
	if err := json.Unmarshal([]byte(said["/api/v1/sessions"]), &open); err != nil || len(open.Sessions) != len(clients) {
		t.Fatalf("%d sessions, %v, want %d:\n%s", len(open.Sessions), err, len(clients), said["/api/v1/sessions"])
	}
	for _, s := range open.Sessions {
		for _, path := range []string{"/api/v1/sessions/" + s.ID, "/api/v1/sessions/" + s.ID + "/events"} {
			_, body, err := n.get(path)
			if err != nil {
				t.Fatal(err)
			}
			said[path] = body
		}
		cmd := exec.Command(programs.fairlead, "conn", "log", s.ID)
		cmd.Env = append(os.Environ(), "FAIRLEAD_API=http://"+n.internal)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("conn log: %v\n%s", err, out)
		}
		said["conn log "+s.ID] = string(out)
	}
	n.signal(t, syscall.SIGTERM)
	n.exit(t, 60*time.Second)
	said["the log"] = n.logged()
	files := 0
	err := filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		said["the journal's "+filepath.Base(path)+" in "+filepath.Dir(path)] = string(b)
		if strings.Contains(string(b), open.Sessions[0].ID) {
			files++
		}
		return err
	})
	if err != nil || files == 0 {
		t.Fatalf("the journal's files do not name the first session: %v", err)
	}

	secrets := map[string]string{
		"a DRF token": token, "a session": strings.TrimPrefix(session, "Cookie: sessionid="), "a JWT": strings.TrimPrefix(jwt, "Cookie: JWT="),
		"a ticket": ticket, "a ticket in a URL": url.QueryEscape(ticket), "a grant": grant, "a grant in a URL": url.QueryEscape(grant),
		"SECRET_KEY": "for-trying-out-only-0123456789", "the secret of tickets": "for-trying-out-only-fairlead-tickets",
		"the secret of callbacks": "for-trying-out-only-fairlead-callback", "a password": "alice-pw",
		"a password's hash":      site.do(t, "print(User.objects.get(username='alice').password)"),
		"the signature of a JWT": jwt[strings.LastIndexByte(jwt, '.')+1:],
	}
	for what, secret := range bad {
		secrets["a bad "+what] = secret
	}
	for what, secret := range secrets {
		if len(secret) < 8 {
			t.Errorf("%s is %d bytes long", what, len(secret))
		}
		for where, text := range said {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %s", where, what)
			}
		}
	}
}

// changed returns the text with its last but one byte changed: in base64 the last may have bits that do not count.
func changed(s string) string {
	b := []byte(s)
	if i := len(b) - 2; b[i] == 'x' {
		b[i] = 'y'
	} else {
		b[i] = 'x'
	}
	return string(b)
}
