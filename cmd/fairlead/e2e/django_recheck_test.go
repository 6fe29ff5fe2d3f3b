//go:build e2e

package e2e

import (
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestDjangoRecheck: whoever may no longer be there is gone within the time of recheck, and nobody else.
func TestDjangoRecheck(t *testing.T) {
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "db.sqlite3")
	site := newSite(t, dsn)
	site.serve(t)
	const recheck, within = 2 * time.Second, 5 * time.Second // a margin for a machine that is busy
	env := []string{"FAIRLEAD_LISTEN_INTERNAL=" + siteAPI}
	for _, route := range []string{"0", "1", "2", "3", "5", "6"} {
		env = append(env, "FAIRLEAD_ROUTE_"+route+"_RECHECK="+recheck.String())
	}
	n := startSiteNode(t, dsn, env...)

	origin := "Origin: " + siteOrigin
	alice, bob, leaves := login(t, "alice", "alice-pw"), login(t, "bob", "bob-pw"), login(t, "alice", "alice-pw")
	token := "Authorization: Token " + site.keyOf(t, "alice")
	open := map[string]*client{
		"alice by session":          dial(t, n.public, "/by-session/room_1", origin, alice.session()),
		"alice's other session":     dial(t, n.public, "/by-session/room_1", origin, leaves.session()),
		"alice in the second room":  dial(t, n.public, "/by-session/room_2", origin, alice.session()),
		"alice there, says the app": dial(t, n.public, "/by-callback/room_2", origin, alice.session()),
		"alice by token":            dial(t, n.public, "/by-token/room_1", token),
		"alice as the site sees it": dial(t, n.public, "/whoami", token),
		"alice by JWT":              dial(t, n.public, "/by-jwt/room_1", origin, alice.jwt(t)),
		"bob by session":            dial(t, n.public, "/by-session/room_1", origin, bob.session()),
		"bob by callback":           dial(t, n.public, "/by-callback/room_1", origin, bob.session()),
		"bob by JWT":                dial(t, n.public, "/by-jwt/room_1", origin, bob.jwt(t)),
		"alice there, by ticket":    dial(t, n.public, "/by-ticket/room_2?ticket="+url.QueryEscape(alice.answer(t, "/api/ticket/", nil, "ticket")), origin),
		"bob by ticket":             dial(t, n.public, "/by-ticket/room_1?ticket="+url.QueryEscape(bob.answer(t, "/api/ticket/", nil, "ticket")), origin),
	}
	// ends fails the test unless those end with the code, and all others stay.
	ends := func(what string, code ws.StatusCode, who ...string) {
		t.Helper()
		for _, name := range who {
			if got, _ := open[name].wait(t, within); got != code {
				t.Errorf("%s: %s was closed with %d, want %d", what, name, got, code)
			}
			delete(open, name)
		}
		for name, c := range open {
			if err := c.open(); err != nil {
				t.Errorf("%s: %s: %v", what, name, err)
			}
		}
	}

	leaves.post(t, "/logout/", nil)
	ends("after logging out", 4401, "alice's other session")
	site.do(t, "Token.objects.get(user__username='alice').delete()")
	ends("after the token was deleted", 4401, "alice by token", "alice as the site sees it")
	site.do(t, "Room.objects.get(pk=2).members.clear()")
	ends("after the permission was taken", 4403, "alice in the second room", "alice there, says the app", "alice there, by ticket")
	site.do(t, "User.objects.filter(username='bob').update(is_active=False)")
	ends("after bob was deactivated", 4401, "bob by session", "bob by JWT", "bob by callback")
	alice.post(t, "/password/", url.Values{"old_password": {"alice-pw"}, "new_password1": {"a-new-pw-0815"}, "new_password2": {"a-new-pw-0815"}})
	ends("after the password was changed", 4401, "alice by session")
	if len(open) != 2 {
		t.Errorf("%d connections are left, want that of the JWT and that of the ticket", len(open))
	}
}
