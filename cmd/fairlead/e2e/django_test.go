//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The databases of a real Django, and what is in them.
const fixtures = "../../../authn/testdata"

// tokens reads the DRF tokens of a database by user name.
func tokens(t *testing.T, file string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(fixtures, file))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Tokens map[string]struct{ Key string } `json:"tokens"`
	}
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for user, token := range f.Tokens {
		keys[user] = token.Key
	}
	for _, user := range []string{"alice", "bob", "carol", "zoe", "root"} {
		if len(keys[user]) != 40 {
			t.Fatalf("%s has no token of %s", file, user)
		}
	}
	return keys
}

// TestDjangoQueryToken is the seed's case: a DRF token in the query, the permission to join app_N in a table of the site,
// and every member hears what any member sends.
func TestDjangoQueryToken(t *testing.T) {
	sqlite := filepath.Join(t.TempDir(), "django.sqlite3")
	b, err := os.ReadFile(filepath.Join(fixtures, "django.sqlite3"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sqlite, b, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("sqlite", func(t *testing.T) { testDjango(t, "sqlite:"+sqlite, tokens(t, "fixtures.json")) })
	t.Run("postgres", func(t *testing.T) {
		startDjangoPostgres(t, filepath.Join(fixtures, "django_pg.sql"))
		testDjango(t, postgresDSN, tokens(t, "fixtures_pg.json"))
	})
}

func testDjango(t *testing.T, dsn string, keys map[string]string) {
	n := startNode(t, fmt.Sprintf(`
[[verifier]]
name = "drf"
kind = "drf_token"
dsn  = %[1]q

[[authorizer]]
name   = "member"
kind   = "sql"
dsn    = %[1]q
query  = "SELECT 1 FROM gate_grant WHERE user_id = :user AND app_id = :id"
params = { user = "int", id = "int" }

[[route]]
path      = "/ws/{group}"
category  = "app"
join      = ["{group}"]
no_origin = "allow"
authorize = "member"
credential = [{ from = "query", name = "token", verifier = "drf" }]
`, dsn))
	connect := func(user string) string { return "/ws/app_1234?token=" + keys[user] }

	alice, zoe := dial(t, n.public, connect("alice")), dial(t, n.public, connect("zoe"))
	elsewhere := dial(t, n.public, "/ws/app_1/?token="+keys["alice"]) // alice has a grant for app 1 too
	meet(t, 5*time.Second, alice, zoe)
	forget(alice, zoe)
	alice.send(t, "ahoi zoë")
	zoe.send(t, "ahoi alice")
	for _, c := range []*client{alice, zoe} {
		eventually(t, 5*time.Second, func() error {
			got := c.received()
			if slices.Sort(got); !slices.Equal(got, []string{"ahoi alice", "ahoi zoë"}) {
				return fmt.Errorf("got %q", got)
			}
			return nil
		})
	}

	for _, tt := range []struct {
		name, target string
		status       int
	}{
		{"carol has no grant", connect("carol"), 403},
		{"root is a superuser without a grant", connect("root"), 403},
		{"zoë has no grant for another app", "/ws/app_1?token=" + keys["zoe"], 403},
		{"an app that is no number", "/ws/app_x?token=" + keys["alice"], 403},
		{"bob is not active", connect("bob"), 401},
		{"no token", "/ws/app_1234", 401},
		{"unknown token", "/ws/app_1234?token=" + strings.Repeat("e", 40), 401},
		{"alice's token in capitals", "/ws/app_1234?token=" + strings.ToUpper(keys["alice"]), 401},
		{"empty token", "/ws/app_1234?token=", 401},
		{"another category", "/ws/chat_1234?token=" + keys["alice"], 404},
		{"another path", "/ws?token=" + keys["alice"], 404},
	} {
		_, err := tryDial(t, n.public, tt.target)
		t.Run(tt.name, func(t *testing.T) { wantStatus(t, err, tt.status) })
	}

	if got := elsewhere.received(); len(got) > 0 {
		t.Errorf("a member of app_1 heard %q of app_1234", got)
	}
	elsewhere.send(t, "anybody here?")
	eventually(t, 5*time.Second, func() error {
		if !elsewhere.has("anybody here?") {
			return fmt.Errorf("a sender hears itself; got %q", elsewhere.received())
		}
		return nil
	})
	if alice.has("anybody here?") || zoe.has("anybody here?") {
		t.Error("members of app_1234 heard a message of app_1")
	}
	for user, key := range keys {
		if strings.Contains(n.logged(), key) {
			t.Errorf("the log holds the token of %s", user)
		}
	}
}
