package main

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// cachedSite is a site whose answers are kept for so long.
func cachedSite(ttl string) (file, text string) {
	return "django.sqlite3", fmt.Sprintf(`
[listen]
public   = "127.0.0.1:0"
internal = "127.0.0.1:0"
[drain]
window = "10ms"
[[verifier]]
name = "drf"
kind = "drf_token"
dsn  = "sqlite:django.sqlite3"
cache_ttl = %[1]q
negative_ttl = %[1]q
[[authorizer]]
name   = "member"
kind   = "sql"
dsn    = "sqlite:django.sqlite3"
query  = "SELECT 1 FROM gate_grant WHERE user_id = :user AND app_id = :number"
params = { user = "int", number = "int" }
cache_ttl    = %[1]q
negative_ttl = %[1]q
[[authorizer]]
name = "claims"
kind = "grants"
[[authorizer]]
name = "either"
kind = "any"
of   = ["claims", "member"]
[[route]]
path = "/ws/{number}"
join = ["app_{number}"]
authorize  = "either"
credential = [{ from = "query", name = "token", verifier = "drf" }]
`, ttl)
}

// TestAnswersAreKept: what the database says counts from when it is asked.
func TestAnswersAreKept(t *testing.T) {
	for ttl, later := range map[string]int{"1h": 101, "0s": 401} {
		t.Run(ttl, func(t *testing.T) {
			t.Chdir(t.TempDir())
			name, text := cachedSite(ttl)
			db := copyFixture(t, name)
			if err := os.WriteFile("fairlead.toml", []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			s := startServe(t, nil, "--config", "fairlead.toml")
			knock := func(user string, want int) {
				t.Helper()
				c, err := tryDial(t, "ws://"+s.public+"/ws/1234?token="+keys[user], nil)
				if got := status(err); got != want {
					t.Errorf("%s: got %d, want %d", user, got, want)
				}
				if err == nil {
					c.conn.Close()
				}
			}
			knock("alice", 101)
			knock("carol", 403)
			knock("unknown", 401)
			execute(t, db, "DELETE FROM authtoken_token")
			execute(t, db, "DELETE FROM gate_grant")
			knock("alice", later)
			knock("carol", map[int]int{101: 403, 401: 401}[later])
			knock("unknown", 401)
			_, metrics, err := s.get("/metrics")
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range []string{
				`fairlead_auth_cache_total{result="hit",verifier="drf"} 2`,
				`fairlead_auth_cache_total{result="negative_hit",verifier="drf"} 1`,
				`fairlead_auth_cache_total{result="miss",verifier="drf"} 3`,
				`fairlead_auth_cache_entries{answer="good",verifier="drf"} 2`,
				`fairlead_decision_cache_total{authorizer="member",result="hit"} 1`,
				`fairlead_decision_cache_total{authorizer="member",result="negative_hit"} 1`,
			} {
				if kept := strings.Contains(metrics, line+"\n"); kept != (ttl != "0s") {
					t.Errorf("%s: %v", line, kept)
				}
			}
		})
	}
}

// copyFixture copies the fixture's database into the folder, and returns it open for writing.
func copyFixture(t *testing.T, name string) *sql.DB {
	t.Helper()
	b, err := os.ReadFile(fixtureDatabase)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// fixtureDatabase is the fixture's database, from wherever a test has gone.
var fixtureDatabase, _ = filepath.Abs("testdata/django.sqlite3")

func execute(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// forgetful is a cache that notes what it is told.
type forgetful struct {
	changes []authn.Change
	caps    []time.Duration
}

func (f *forgetful) Apply(c authn.Change) { f.changes = append(f.changes, c) }

func (f *forgetful) SetCap(d time.Duration) { f.caps = append(f.caps, d) }

// TestNews: all caches hear of everything, and keep nothing for long while one database does not tell.
func TestNews(t *testing.T) {
	var a, b forgetful
	var told []string
	n := news{caches: []cache{&a, &b}, listeners: make([]*authn.Listener, 2), onChange: func(c authn.Change, verifiers []string) {
		told = append(told, c.User, strings.Join(verifiers, "+"))
	}}
	n.limit()
	n.hears(true)
	n.hears(true)
	n.hears(false)
	n.change(authn.Change{Kind: authn.ChangeUser, User: "1"}, []string{"drf", "session"})
	for _, f := range []*forgetful{&a, &b} {
		if !slices.Equal(f.caps, []time.Duration{unheardAge, unheardAge, 0, unheardAge}) || len(f.changes) != 1 || f.changes[0].User != "1" {
			t.Errorf("got %+v", f)
		}
	}
	if !slices.Equal(told, []string{"1", "drf+session"}) {
		t.Errorf("told %q", told)
	}
}

// TestAskersOf: when a database may have told of something that nobody heard, those are looked at again about whom it could be.
func TestAskersOf(t *testing.T) {
	route := func(authorizer string, verifiers ...string) config.Route {
		r := config.Route{Authorize: authorizer}
		for _, v := range verifiers {
			r.Credentials = append(r.Credentials, config.Credential{Verifier: v})
		}
		return r
	}
	c := &config.Config{
		Verifiers: []config.Verifier{
			{Name: "drf", Kind: config.KindDRFToken, DSN: "postgres://a"},
			{Name: "session", Kind: config.KindDjangoSession, DSN: "postgres://a"},
			{Name: "looked_up", Kind: config.KindJWT, Users: "postgres://a"},
			{Name: "elsewhere", Kind: config.KindDRFToken, DSN: "postgres://b"},
			{Name: "keys", Kind: config.KindJWT},
			{Name: "others", Kind: config.KindJWT},
			{Name: "both", Kind: config.KindIssuers, Of: []string{"keys", "others"}},
			{Name: "ticket", Kind: config.KindTicket},
			{Name: "free", Kind: config.KindJWT},
			{Name: "other", Kind: config.KindJWT},
		},
		Authorizers: []config.Authorizer{
			{Name: "member", Kind: config.KindSQL, DSN: "postgres://a"},
			{Name: "guest", Kind: config.KindSQL, DSN: "postgres://b"},
			{Name: "grants", Kind: config.KindGrants},
			{Name: "either", Kind: config.KindAny, Of: []string{"grants", "member"}},
		},
		Routes: []config.Route{
			route("member", "both"), route("either", "ticket", "drf"), route("guest", "other"), route("grants", "free"), route("", "free"),
		},
	}
	want := []string{"both", "drf", "keys", "looked_up", "others", "session", "ticket"}
	if got := askersOf(c, "postgres://a"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTriggersOf: each database is watched for what its verifiers look at.
func TestTriggersOf(t *testing.T) {
	c := &config.Config{Verifiers: []config.Verifier{
		{Kind: config.KindDRFToken, DSN: "postgres://a", TokenTable: "tokens", TokenKey: "k", TokenUser: "u", UserTable: "users", UserPK: "id", UserActive: "on", UserPassword: "password"},
		{Kind: config.KindDjangoSession, DSN: "postgres://a", Engine: "db", SessionTable: "sessions", UserTable: "users", UserPK: "id", UserActive: "on", UserPassword: "hash"},
		{Kind: config.KindDjangoSession, DSN: "postgres://a", Engine: "file", SessionTable: "none", UserTable: "users", UserPK: "id", UserActive: "on", UserPassword: "hash"},
		{Kind: config.KindJWT, Users: "postgres://a", UserTable: "people", UserPK: "id", UserActive: "on", UserPassword: "password"},
		{Kind: config.KindJWT, Users: "postgres://a", UserField: "email", UserTable: "people", UserPK: "id", UserActive: "on"},
		{Kind: config.KindJWT, DSN: "postgres://a", UserTable: "others", UserPK: "id", UserActive: "on"},
		{Kind: config.KindDRFToken, DSN: "postgres://b", TokenTable: "elsewhere", TokenKey: "k", TokenUser: "u", UserTable: "users", UserPK: "id", UserActive: "on"},
	}}
	tables, err := triggersOf(c, "postgres://a").Tables()
	if err != nil || !slices.Equal(tables, []string{`"users"`, `"people"`, `"tokens"`, `"sessions"`}) {
		t.Errorf("got %s, %v", tables, err)
	}
	text, err := triggersOf(c, "postgres://a").SQL()
	if err != nil || strings.Contains(text, `"password"`) || !strings.Contains(text, `OLD."hash"`) || !strings.Contains(text, `OLD."email"`) {
		t.Errorf("got %s, %v", text, err)
	}
}
