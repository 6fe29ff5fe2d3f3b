//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestChangesAreHeard: what is kept for ten minutes is forgotten when PostgreSQL tells that it has changed, and connections
// end at once with what let them in.
func TestChangesAreHeard(t *testing.T) {
	startDjangoPostgres(t, filepath.Join(fixtures, "django_pg.sql"))
	keys := tokens(t, "fixtures_pg.json")
	config := fmt.Sprintf(`
[[verifier]]
name = "drf"
kind = "drf_token"
dsn  = %[1]q
cache_ttl = "10m"
negative_ttl = "10m"
listen = true

[[verifier]]
name = "who"
kind = "jwt"
algorithms = ["HS256"]
secret = %[2]q
users  = %[1]q
cache_ttl = "10m"
negative_ttl = "10m"
listen = true

[[authorizer]]
name   = "member"
kind   = "sql"
dsn    = %[1]q
query  = "SELECT 1 FROM gate_grant WHERE user_id = :user AND app_id = :id"
params = { user = "int", id = "int" }
cache_ttl = "10m"
negative_ttl = "10m"

[[route]]
path      = "/ws/{group}"
category  = "app"
join      = ["{group}"]
no_origin = "allow"
authorize = "member"
recheck   = "1h"
credential = [{ from = "query", name = "token", verifier = "drf" }]

[[route]]
path      = "/any/{group}"
join      = ["{group}"]
no_origin = "allow"
credential = [{ from = "query", name = "token", verifier = "drf" }]

[[route]]
path      = "/jwt"
no_origin = "allow"
recheck   = "1h"
credential = [{ from = "query", name = "token", verifier = "who" }]
`, postgresDSN, secret)
	n := startNode(t, config)
	file := filepath.Join(t.TempDir(), "fairlead.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	triggerSQL := func(flags ...string) string {
		t.Helper()
		out, err := exec.Command(programs.fairlead, append([]string{"authn", "trigger-sql", "--config", file}, flags...)...).Output()
		if err != nil {
			t.Fatalf("trigger-sql: %v", err)
		}
		return string(out)
	}
	psql := func(sql string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(postgresBin(t), "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", postgresDSN)
		cmd.Stdin = strings.NewReader(sql)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("psql: %v\n%s", err, out)
		}
	}
	// soon asks until the answer is the expected one, and says how long that took from the change on.
	soon := func(what, target string, want int, within time.Duration) time.Duration {
		t.Helper()
		start := time.Now()
		for {
			c, err := tryDial(t, n.public, target)
			got := 101
			if err != nil {
				refused, ok := errors.AsType[*refusedError](err)
				if !ok {
					t.Fatalf("%s: %v", what, err)
				}
				got = refused.status
			} else {
				c.conn.Close()
			}
			took := time.Since(start)
			if got == want {
				t.Logf("%s: %d after %v", what, got, took)
				return took
			}
			if took > within {
				t.Fatalf("%s: still %d after %v, want %d", what, got, took, want)
			}
		}
	}
	in := func(user string) string { return "/ws/app_1234?token=" + keys[user] }

	// Without triggers the node knows that it hears nothing.
	eventually(t, 10*time.Second, func() error {
		if !strings.Contains(n.logged(), "no trigger tells of changes") {
			return fmt.Errorf("it does not say that there are no triggers")
		}
		return nil
	})
	psql(triggerSQL("--permission", "gate_grant.user_id"))
	psql(triggerSQL("--permission", "gate_grant.user_id"))
	eventually(t, 30*time.Second, func() error {
		if got := n.metric(t, "fairlead_auth_listening"); got != 1 {
			return fmt.Errorf("it does not listen")
		}
		return nil
	})

	const atOnce = 2 * time.Second // for a machine that does other things as well
	alice, zoe, carol := dial(t, n.public, in("alice")), dial(t, n.public, in("zoe")), dial(t, n.public, "/any/a?token="+keys["carol"])
	carolJWT := "/jwt?token=" + token(t, "3")
	withJWT := dial(t, n.public, carolJWT)
	soon("carol has no permission", in("carol"), 403, atOnce)
	psql("DELETE FROM gate_grant WHERE user_id = 6 AND app_id = 1234")
	soon("zoë's permission is gone", in("zoe"), 403, atOnce)
	if code, _ := zoe.wait(t, 2*time.Second); code != 4403 {
		t.Errorf("zoë's connection ended with %d", code)
	}
	psql("INSERT INTO gate_grant (user_id, app_id) VALUES (3, 1234)")
	soon("carol has permission", in("carol"), 101, atOnce)
	psql("UPDATE auth_user SET is_active = false WHERE id = 3")
	soon("carol is not active", in("carol"), 401, atOnce)
	soon("carol is not active, with a JWT", carolJWT, 401, atOnce)
	if code, _ := withJWT.wait(t, 2*time.Second); code != 4401 {
		t.Errorf("carol's connection with a JWT ended with %d", code)
	}
	psql("UPDATE auth_user SET is_active = true WHERE id = 3")
	soon("carol is active again", in("carol"), 101, atOnce)
	soon("carol is active again, with a JWT", carolJWT, 101, atOnce)
	if err := alice.open(); err != nil {
		t.Errorf("alice: %v", err)
	}
	fastest := time.Hour
	for user, id := range map[string]int{"alice": 1, "root": 7, "zoe": 6} {
		target := "/any/a?token=" + keys[user]
		soon(user+" has a token", target, 101, atOnce)
		psql(fmt.Sprintf("DELETE FROM authtoken_token WHERE user_id = %d", id))
		fastest = min(fastest, soon(user+"'s token is gone", target, 401, atOnce))
	}
	if fastest > 100*time.Millisecond {
		t.Errorf("a token was good for %v after it was deleted, at best", fastest)
	}
	if code, _ := alice.wait(t, 2*time.Second); code != 4401 {
		t.Errorf("alice's connection ended with %d", code)
	}
	if err := carol.open(); err != nil {
		t.Errorf("a route without recheck: %v", err)
	}

	// A new life of the connection to PostgreSQL forgets everything: what was changed meanwhile is known.
	psql("ALTER TABLE authtoken_token DISABLE TRIGGER USER; DELETE FROM authtoken_token; ALTER TABLE authtoken_token ENABLE TRIGGER USER")
	soon("nobody told that carol's token is gone", in("carol"), 101, atOnce)
	psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%pg_trigger%'")
	soon("all that was kept is forgotten", in("carol"), 401, 5*time.Second)

	psql(triggerSQL("--permission", "gate_grant.user_id", "--drop"))
	for user, key := range keys {
		if strings.Contains(n.logged(), key) {
			t.Errorf("the token of %s is in the log", user)
		}
	}
}
