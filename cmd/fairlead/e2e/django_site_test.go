//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// keyOf returns the token of a user.
func (s *djangoSite) keyOf(t *testing.T, user string) string {
	t.Helper()
	return s.do(t, fmt.Sprintf("print(Token.objects.get(user__username=%q).key)", user))
}

// takes returns who the node takes a client with that header line for, in the words of djangoSite.knows.
func (n *node) takes(t *testing.T, header string) string {
	t.Helper()
	var fields []string
	if header != "" {
		fields = append(fields, header)
	}
	c, err := tryDial(t, n.public, "/whoami", fields...)
	var refused *refusedError
	switch {
	case errors.As(err, &refused) && refused.status == http.StatusUnauthorized:
		return ""
	case err != nil:
		t.Fatalf("/whoami: %v", err)
	}
	defer c.conn.Close()
	var id struct{ Subject, Name string }
	eventually(t, 5*time.Second, func() error {
		got := c.received()
		if len(got) == 0 {
			return errors.Join(errors.New("no greeting"), c.open())
		}
		return json.Unmarshal([]byte(got[0]), &id)
	})
	return id.Subject + " " + id.Name
}

// credentials are header lines by what they are.
type credentials map[string]string

// agree fails the test unless the node takes each credential for whom Django takes it for, and that is as it should be.
func (s *djangoSite) agree(t *testing.T, n *node, step string, all credentials, want map[string]string) {
	t.Helper()
	for name, header := range all {
		django, fairlead := s.knows(t, header), n.takes(t, header)
		_, user, _ := strings.Cut(django, " ")
		if django != fairlead {
			t.Errorf("%s: %s: Django takes it for %q, Fairlead for %q", step, name, django, fairlead)
		}
		if user != want[name] {
			t.Errorf("%s: %s: Django takes it for %q, want %q", step, name, user, want[name])
		}
	}
}

// TestDjangoDecides: at each step of the life of a site, Fairlead decides about a credential as the site's own views do.
func TestDjangoDecides(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testDjangoDecides(t, "sqlite:"+filepath.Join(t.TempDir(), "db.sqlite3")) })
	t.Run("postgres", func(t *testing.T) {
		startPostgres(t)
		testDjangoDecides(t, postgresDSN)
	})
	t.Run("mariadb", func(t *testing.T) {
		startMariaDB(t)
		testDjangoDecides(t, mariadbDSN)
	})
}

func testDjangoDecides(t *testing.T, dsn string) {
	site := newSite(t, strings.TrimSuffix(dsn, "?sslmode=disable"))
	stop := site.serve(t)
	// Always ask, so that each step is seen at once; how long an answer is kept is the test of recheck's.
	now := []string{
		"FAIRLEAD_VERIFIER_DRF_CACHE_TTL=0s", "FAIRLEAD_VERIFIER_SESSION_CACHE_TTL=0s", "FAIRLEAD_VERIFIER_JWT_CACHE_TTL=0s",
		"FAIRLEAD_VERIFIER_DRF_NEGATIVE_TTL=0s", "FAIRLEAD_VERIFIER_SESSION_NEGATIVE_TTL=0s", "FAIRLEAD_VERIFIER_JWT_NEGATIVE_TTL=0s",
	}
	n := startSiteNode(t, dsn, now...)

	one, two, other := login(t, "alice", "alice-pw"), login(t, "alice", "alice-pw"), login(t, "bob", "bob-pw")
	all := credentials{
		"nothing": "", "garbage": "Authorization: Token " + strings.Repeat("9", 40), "another scheme": "Authorization: Bearer x",
		"alice's token": "Authorization: Token " + site.keyOf(t, "alice"), "bob's token": "Authorization: Token " + site.keyOf(t, "bob"),
		"alice's first session": one.session(), "alice's second session": two.session(), "bob's session": other.session(),
		"alice's JWT": one.jwt(t), "bob's JWT": other.jwt(t), "garbage as session": "Cookie: sessionid=" + strings.Repeat("z", 32),
		"garbage as JWT": "Cookie: JWT=a.b.c", "a short session": "Cookie: sessionid=short",
	}
	want := map[string]string{
		"alice's token": "alice", "bob's token": "bob", "alice's first session": "alice", "alice's second session": "alice",
		"bob's session": "bob", "alice's JWT": "alice", "bob's JWT": "bob",
	}
	site.agree(t, n, "at first", all, want)

	one.post(t, "/logout/", nil)
	delete(want, "alice's first session")
	site.agree(t, n, "after logging out", all, want)

	site.do(t, "Token.objects.get(user__username='alice').delete()")
	delete(want, "alice's token")
	site.agree(t, n, "after a token was deleted", all, want)
	all["alice's new token"] = "Authorization: Token " + two.answer(t, "/api/token/", url.Values{"username": {"alice"}, "password": {"alice-pw"}}, "token")
	want["alice's new token"] = "alice"
	site.agree(t, n, "after one was made", all, want)

	third := login(t, "alice", "alice-pw")
	all["alice's third session"] = third.session()
	third.post(t, "/password/", url.Values{"old_password": {"alice-pw"}, "new_password1": {"a-new-pw-0815"}, "new_password2": {"a-new-pw-0815"}})
	all["alice's session since the new password"], want["alice's session since the new password"] = third.session(), "alice"
	delete(want, "alice's second session")
	site.agree(t, n, "after the password was changed", all, want)

	site.do(t, "User.objects.filter(username='bob').update(is_active=False)")
	for _, name := range []string{"bob's token", "bob's session", "bob's JWT"} {
		delete(want, name)
	}
	site.agree(t, n, "after a user was deactivated", all, want)
	site.do(t, "User.objects.filter(username='bob').update(is_active=True)")
	want["bob's token"], want["bob's session"], want["bob's JWT"] = "bob", "bob", "bob"
	site.agree(t, n, "after he was activated", all, want)
	site.do(t, "User.objects.filter(username='bob').delete()")
	delete(want, "bob's token")
	delete(want, "bob's session")
	delete(want, "bob's JWT")
	site.agree(t, n, "after he was deleted", all, want)

	// A new SECRET_KEY: Django before 4.1 has no fallbacks, so that sessions and JWTs of the old one end.
	stop()
	const rotated = "another-key-for-trying-out-0123456789abcdefghijklmnopqrst"
	site.serve(t, "DJANGO_SECRET_KEY="+rotated)
	since := append(now, "FAIRLEAD_VERIFIER_SESSION_SECRET="+rotated, "FAIRLEAD_VERIFIER_JWT_SECRET="+rotated)
	n = startSiteNode(t, dsn, since...)
	old := all["alice's session since the new password"]
	delete(want, "alice's session since the new password")
	delete(want, "alice's JWT")
	fourth := login(t, "alice", "a-new-pw-0815")
	all["alice's session of the new key"], want["alice's session of the new key"] = fourth.session(), "alice"
	all["alice's JWT of the new key"], want["alice's JWT of the new key"] = fourth.jwt(t), "alice"
	site.agree(t, n, "after SECRET_KEY was rotated", all, want)

	// With the old key as a fallback both are good.
	n = startSiteNode(t, dsn, append(since, "FAIRLEAD_VERIFIER_SESSION_SECRET_FALLBACKS=for-trying-out-only-0123456789abcdefghijklmnopqrstuvwxyz")...)
	for name, header := range map[string]string{"of the old key": old, "of the new key": fourth.session()} {
		if got := n.takes(t, header); !strings.HasSuffix(got, " alice") {
			t.Errorf("with the old key as a fallback a session %s is of %q, want alice", name, got)
		}
	}
}
