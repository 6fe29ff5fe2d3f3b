//go:build e2e

package authn

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPostgresTriggers runs the printed SQL against a real server, twice, and hears of what the application does.
func TestPostgresTriggers(t *testing.T) {
	dsn := postgresFixture(t)
	execute(t, dsn, `CREATE TABLE public."Odd's" ("User" uuid PRIMARY KEY, "E-mail" text, "ok" boolean);`+
		`INSERT INTO public."Odd's" VALUES ('76eedf10-fdc5-4888-9a2a-5ca6d6f84f71', 'a', true)`)
	triggers := Triggers{
		Users: []UserModel{
			{Table: "public.auth_user", PrimaryKey: "id", NameColumn: "username", ActiveColumn: "is_active", PasswordColumn: "password"},
			{Table: "public.Odd's", PrimaryKey: "User", NameColumn: "E-mail", ActiveColumn: "ok"},
		},
		Tokens:      []TokenModel{{Table: "public.authtoken_token", KeyColumn: "key", UserColumn: "user_id"}},
		Sessions:    []string{"public.django_session"},
		Permissions: []Permission{{"public.gate_grant", "user_id"}},
	}
	v := newDRFToken(t, DRFTokenConfig{DSN: dsn})
	cache := must(NewCache(CacheConfig{Verifier: v, TTL: 10 * time.Minute, NegativeTTL: 10 * time.Minute}))
	e := newEar()
	l := serveListener(t, e, ListenerConfig{DSN: dsn, Tables: must(triggers.Tables())})
	if err := l.Check(t.Context()); err == nil || !strings.Contains(err.Error(), `"public"."Odd's"`) {
		t.Errorf("without triggers: %v", err)
	}
	execute(t, dsn, must(triggers.SQL()))
	execute(t, dsn, must(triggers.SQL()))
	if err := l.Check(t.Context()); err != nil {
		t.Error(err)
	}
	for !wait(t, "the state", e.listening) {
	}
	wait(t, "a change", e.changes)

	token := func(key string) Change { return Change{Kind: ChangeToken, Digest: CredentialDigest([]byte(key))} }
	user := func(id string) Change { return Change{Kind: ChangeUser, User: id} }
	session := func(key string) Change { return Change{Kind: ChangeSession, Digest: CredentialDigest([]byte(key))} }
	const aliceSession, daveSession = "m30xq3ttktxoru159zz14zzoda37yhl0", "b4m4r854elma6hjqztubwyorsg3ykuw9"
	execute(t, dsn, `INSERT INTO public.django_session VALUES ('`+aliceSession+`', 'x', now() + interval '1 day'), ('`+daveSession+`', 'x', now() + interval '1 day') ON CONFLICT DO NOTHING`)
	for _, tt := range []struct {
		statement string
		want      []Change
	}{
		{`UPDATE public.auth_user SET last_login = now(), email = 'x'`, nil}, // what logging in does
		{`UPDATE public.auth_user SET is_active = false WHERE id = 3`, []Change{user("3")}},
		{`UPDATE public.auth_user SET password = 'x' WHERE id = 3`, []Change{user("3")}},
		{`UPDATE public.auth_user SET username = username WHERE id = 3`, nil},
		{`UPDATE public."Odd's" SET "E-mail" = 'b'`, []Change{user("76eedf10-fdc5-4888-9a2a-5ca6d6f84f71")}},
		{`DELETE FROM public."Odd's"`, []Change{user("76eedf10-fdc5-4888-9a2a-5ca6d6f84f71")}},
		{`TRUNCATE public."Odd's"`, []Change{{}}},
		{`INSERT INTO public.authtoken_token (key, created, user_id) SELECT 'new', now(), id FROM public.auth_user u WHERE username = 'dave'`, []Change{token("new")}},
		{`UPDATE public.authtoken_token SET key = 'newer' WHERE key = 'new'`, []Change{token("new"), token("newer")}},
		{`DELETE FROM public.authtoken_token WHERE key = 'newer'`, []Change{token("newer")}},
		{`UPDATE public.django_session SET expire_date = expire_date + interval '1 day' WHERE session_key = '` + aliceSession + `'`, nil},
		{`UPDATE public.django_session SET expire_date = now() WHERE session_key = '` + aliceSession + `'`, []Change{session(aliceSession)}},
		{`UPDATE public.django_session SET session_data = 'y' WHERE session_key = '` + aliceSession + `'`, []Change{session(aliceSession)}},
		{`DELETE FROM public.django_session WHERE session_key IN ('` + aliceSession + `', '` + daveSession + `')`, []Change{session(aliceSession), session(daveSession)}},
		{`INSERT INTO public.gate_grant (user_id, app_id) VALUES (3, 99)`, []Change{user("3")}},
		{`UPDATE public.gate_grant SET user_id = 4 WHERE app_id = 99`, []Change{user("3"), user("4")}},
		{`DELETE FROM public.gate_grant WHERE app_id = 99`, []Change{user("4")}},
		{`BEGIN; DELETE FROM public.gate_grant; ROLLBACK`, nil},
	} {
		execute(t, dsn, tt.statement+`; SELECT pg_notify('fairlead_auth', 'v1 user the-end')`)
		var got []Change
		for c := wait(t, "a change", e.changes); c != user("the-end"); c = wait(t, "a change", e.changes) {
			got = append(got, c)
		}
		for _, c := range tt.want {
			if !slices.Contains(got, c) {
				t.Errorf("%s: %+v is not told; told are %+v", tt.statement, c, got)
			}
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s: told are %+v, want %+v", tt.statement, got, tt.want)
		}
	}

	// The whole: a token that is cached for ten minutes and deleted is refused at once.
	for range 2 {
		if _, err := verify(t, cache, aliceKey); err != nil {
			t.Fatal(err)
		}
	}
	execute(t, dsn, `DELETE FROM public.authtoken_token WHERE key = '`+aliceKey+`'`)
	start := time.Now()
	cache.Apply(wait(t, "a change", e.changes))
	_, err := verify(t, cache, aliceKey)
	wantRefusal(t, err, ErrRejected, ReasonUnknownToken, aliceKey)
	if d := time.Since(start); d > 100*time.Millisecond {
		t.Errorf("it was refused after %v", d)
	}

	// A connection that breaks is made again, and what may have been missed is forgotten.
	execute(t, dsn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query = 'SELECT 1' OR query LIKE '%pg_trigger%' AND pid <> pg_backend_pid()`)
	if wait(t, "the state", e.listening) || !wait(t, "the state", e.listening) {
		t.Error("it does not say that the connection was lost and made again")
	}
	if c := wait(t, "a change", e.changes); c.Kind != ChangeAll {
		t.Errorf("got %+v", c)
	}

	// The triggers of a table that is not meant stay, and work, until it is.
	but := triggers
	but.Permissions = nil
	for i, tt := range []struct {
		drop Triggers
		want []Change
	}{
		{but, []Change{user("4"), user("the-end")}},
		{but, []Change{user("4"), user("the-end")}},
		{triggers, []Change{user("the-end")}},
		{triggers, []Change{user("the-end")}},
	} {
		execute(t, dsn, must(tt.drop.DropSQL()))
		execute(t, dsn, fmt.Sprintf(`UPDATE public.authtoken_token SET created = now(); INSERT INTO public.gate_grant (user_id, app_id) VALUES (4, %d);`+
			`SELECT pg_notify('fairlead_auth', 'v1 user the-end')`, 200+i))
		for _, want := range tt.want {
			if c := wait(t, "a change", e.changes); c != want {
				t.Errorf("got %+v, want %+v", c, want)
			}
		}
	}
	var left int
	if err := connect(t, dsn).QueryRow(t.Context(), `SELECT count(*) FROM pg_proc WHERE proname = 'fairlead_auth_changed'`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d functions are left, %v", left, err)
	}
}
