package authn

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// djangoFixtures is the part of fixtures.json that concerns sessions.
type djangoFixtures struct {
	Secret string `json:"secret_key"`
	Users  []struct {
		ID       int
		Username string
		Hash     string `json:"session_auth_hash"`
	}
	Table   map[string]djangoFixture `json:"sessions_db"`
	Cookies map[string]djangoFixture `json:"sessions_signed_cookies"`
	Files   map[string]djangoFixture `json:"sessions_file"`
}

// djangoFixture is a session, and who Django takes it for; nil is nobody.
type djangoFixture struct {
	SessionID, File string
	Expect          *string
}

func loadDjango(t testing.TB, file string) djangoFixtures {
	t.Helper()
	var f djangoFixtures
	loadJSON(t, file, &f)
	if len(f.Table) == 0 || len(f.Cookies) == 0 || len(f.Files) == 0 {
		t.Fatal("the fixtures have no sessions")
	}
	return f
}

// fixtureNow is a day after the fixtures were made.
func fixtureNow() time.Time { return time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC) }

func newDjangoSession(t testing.TB, c DjangoSessionConfig) *DjangoSession {
	t.Helper()
	if c.DSN == "" {
		c.DSN = sqliteDSN
	}
	if c.Secret == "" {
		c.Secret = fixtureSecret
	}
	v, err := NewDjangoSession(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	v.now = fixtureNow
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// sessionReasons are the reasons for which sessions of the fixtures are refused; "" is absent.
var sessionReasons = map[string]Reason{
	"alice_expired": ReasonExpired, "bob_inactive": ReasonInactiveUser, "gone_deleted": ReasonUnknownUser, "anonymous": "",
	"alice_wrong_hash": ReasonExpired, "alice_no_hash": ReasonBadClaims, "alice_other_backend": ReasonBadClaims, "alice_bad_id": ReasonUnknownUser,
	"alice_tampered": ReasonBadSignature, "alice_other_secret": ReasonBadSignature, "alice_sha1_auth_hash": ReasonExpired,
	"garbage": ReasonBadSignature, "empty": ReasonBadSignature, "alice_db_salt": ReasonBadSignature,
	// Only Django before 4.0 reads these.
	"alice_legacy_format": ReasonBadSignature, "alice_sha1_signature": ReasonBadSignature,
}

// wantUser fails unless v takes the cookie for that user, or refuses it for that reason; "" is absent.
func wantUser(t *testing.T, v *DjangoSession, cookie string, user *string, reason Reason) {
	t.Helper()
	id, err := verify(t, v, cookie)
	switch {
	case user != nil && (err != nil || id.Name != *user || id.Subject == "" || id.Source != v.name || id.Anonymous):
		t.Errorf("got %+v, %v, want %s", id, err, *user)
	case user != nil:
	case reason == "":
		if !errors.Is(err, ErrAbsent) {
			t.Errorf("got %+v, %v, want that it is absent", id, err)
		}
	default:
		wantRefusal(t, err, ErrRejected, reason, cookie, fixtureSecret)
	}
}

// testDjangoSession is what every database must answer.
func testDjangoSession(t *testing.T, dsn string, f djangoFixtures) {
	for _, engine := range []string{"", EngineCachedDB} {
		for _, legacy := range []bool{true, false} {
			v := newDjangoSession(t, DjangoSessionConfig{DSN: dsn, Engine: engine, Legacy: legacy})
			for name, s := range f.Table {
				t.Run(fmt.Sprintf("%s, legacy %v", name, legacy), func(t *testing.T) {
					user := s.Expect
					if user != nil && (*user == "error" || !legacy && sessionReasons[name] == ReasonBadSignature) {
						user = nil
					}
					wantUser(t, v, s.SessionID, user, sessionReasons[name])
				})
			}
		}
	}
	v := newDjangoSession(t, DjangoSessionConfig{DSN: dsn})
	alice := f.Table["alice_login"].SessionID
	if id, err := verify(t, v, alice); err != nil || id.Subject != "1" || !id.Expires.Equal(time.Date(2096, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("got %+v, %v", id, err)
	}
	for key, reason := range map[string]Reason{
		"": "", "short": "", alice[:7]: "", "zoë1234": "", // seven characters
		alice[:31]: ReasonUnknownToken, alice + "0": ReasonUnknownToken, alice + " ": ReasonUnknownToken, strings.ToUpper(alice): ReasonUnknownToken,
		"%" + alice[1:]: ReasonUnknownToken, "' OR 1=1 --": ReasonUnknownToken, "zoë12345": ReasonUnknownToken, "😀😀😀😀😀😀😀😀": ReasonUnknownToken,
		alice + "\x00": ReasonUnknownToken, strings.Repeat("a", 4096): ReasonUnknownToken, alice + "\xff": ReasonMalformed,
	} {
		t.Run(fmt.Sprintf("%.10q", key), func(t *testing.T) { wantUser(t, v, key, nil, reason) })
	}
	if err := v.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := newDjangoSession(t, DjangoSessionConfig{DSN: dsn, Table: "nowhere"}).Check(t.Context()); err == nil {
		t.Error("a table that is missing passes")
	}
}

func TestDjangoSession(t *testing.T) {
	testDjangoSession(t, sqliteDSN, loadDjango(t, "fixtures.json"))
}

func TestDjangoSessionInCookies(t *testing.T) {
	f := loadDjango(t, "fixtures.json")
	v := newDjangoSession(t, DjangoSessionConfig{Engine: EngineSignedCookies})
	for name, s := range f.Cookies {
		t.Run(name, func(t *testing.T) {
			reason := sessionReasons[name]
			if name == "alice_tampered" {
				reason = ReasonBadSignature
			}
			wantUser(t, v, s.SessionID, s.Expect, reason)
		})
	}
	now := f.Cookies["alice_now"].SessionID
	made := time.Date(2026, 11, 23, 13, 2, 12, 0, time.UTC)
	id, err := verify(t, v, now)
	if err != nil || !id.Expires.Equal(made.Add(DefaultCookieAge)) {
		t.Errorf("got %+v, %v", id, err)
	}
	v.now = func() time.Time { return made.Add(DefaultCookieAge) }
	wantUser(t, v, now, nil, ReasonExpired)
	wantUser(t, v, f.Table["alice_login"].SessionID, nil, ReasonBadSignature)
	wantUser(t, v, "short:1", nil, "")
	if err := v.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// sign makes session_data of a session.
// loggedIn is the content of a session of alice with more in it.
// sqliteCopy returns the fixture in a file of its own, and what changes it.
func sqliteCopy(t *testing.T) (dsn string, exec func(statement string, args ...any)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "django.sqlite3")
	if err := os.WriteFile(path, must(os.ReadFile("testdata/django.sqlite3")), 0o600); err != nil {
		t.Fatal(err)
	}
	db := must(sql.Open("sqlite", path))
	t.Cleanup(func() { db.Close() })
	return "sqlite:" + path, func(statement string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(context.Background(), statement, args...); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDjangoSessionFollowsTheSite does what people do at a site, and wants each to be seen at once.
func TestDjangoSessionFollowsTheSite(t *testing.T) {
	dsn, exec := sqliteCopy(t)
	key := loadDjango(t, "fixtures.json").Table["alice_login"].SessionID
	v := newDjangoSession(t, DjangoSessionConfig{DSN: dsn})
	alice, renamed := "alice", "alicia"
	wantUser(t, v, key, &alice, "")
	exec(`UPDATE auth_user SET username = 'alicia' WHERE id = 1`)
	wantUser(t, v, key, &renamed, "")
	exec(`UPDATE auth_user SET is_active = 0 WHERE id = 1`)
	wantUser(t, v, key, nil, ReasonInactiveUser)
	wantUser(t, newDjangoSession(t, DjangoSessionConfig{DSN: dsn, AcceptInactive: true}), key, &renamed, "")
	exec(`UPDATE auth_user SET is_active = 1, password = password || 'x' WHERE id = 1`)
	wantUser(t, v, key, nil, ReasonExpired)
	exec(`DELETE FROM auth_user WHERE id = 1`)
	wantUser(t, v, key, nil, ReasonUnknownUser)
	exec(`UPDATE django_session SET expire_date = '2026-11-23 23:59:59.999999' WHERE session_key = ?`, key)
	wantUser(t, v, key, nil, ReasonExpired)
	exec(`UPDATE django_session SET expire_date = '2026-11-24 00:00:00' WHERE session_key = ?`, key) // now: it must be later
	wantUser(t, v, key, nil, ReasonExpired)
	exec(`UPDATE django_session SET expire_date = 'soon' WHERE session_key = ?`, key)
	_, err := verify(t, v, key)
	wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, key)
	exec(`DELETE FROM django_session WHERE session_key = ?`, key)
	wantUser(t, v, key, nil, ReasonUnknownToken)
	exec(`DROP TABLE django_session`)
	_, err = verify(t, v, key)
	wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, key)
}

func TestDjangoSessionSecrets(t *testing.T) {
	f := loadDjango(t, "fixtures.json")
	alice := "alice"
	rotated := newDjangoSession(t, DjangoSessionConfig{Secret: "new", Fallbacks: []string{"newer", fixtureSecret}})
	wantUser(t, rotated, f.Table["alice_login"].SessionID, &alice, "")
	cookies := newDjangoSession(t, DjangoSessionConfig{Engine: EngineSignedCookies, Secret: "new", Fallbacks: []string{fixtureSecret}})
	wantUser(t, cookies, f.Cookies["alice"].SessionID, &alice, "")
	wantUser(t, newDjangoSession(t, DjangoSessionConfig{Secret: "new"}), f.Table["alice_login"].SessionID, nil, ReasonBadSignature)
}

func TestDjangoSessionBackends(t *testing.T) {
	dsn, exec := sqliteCopy(t)
	const everybody = "django.contrib.auth.backends.AllowAllUsersModelBackend"
	bobs := strings.Replace(strings.Replace(loggedIn(""), `"1"`, `"2"`, 1), ModelBackend, everybody, 1)
	hash := loadDjango(t, "fixtures.json").Users[1].Hash
	bobs = bobs[:strings.Index(bobs, "489b")] + hash + `"}`
	exec(`INSERT INTO django_session VALUES ('bobseverybody', ?, '9999-12-31 23:59:59.999999')`, signSession(bobs, fixtureNow()))
	bob := "bob"
	both := newDjangoSession(t, DjangoSessionConfig{DSN: dsn, Backends: []string{ModelBackend, everybody}})
	wantUser(t, both, "bobseverybody", &bob, "")
	wantUser(t, newDjangoSession(t, DjangoSessionConfig{DSN: dsn}), "bobseverybody", nil, ReasonBadClaims)
	if id := must(verify(t, both, "bobseverybody")); id.Expires.Year() != 9999 {
		t.Errorf("it ends %v", id.Expires)
	}
}

// TestDjangoSessionCustomUser has users with UUIDs for keys, and e-mail addresses for names.
func TestDjangoSessionCustomUser(t *testing.T) {
	var f struct {
		Users []struct {
			ID, Email, SessionID string
			Active               bool
		}
	}
	loadJSON(t, "custom_user.json", &f)
	v := newDjangoSession(t, DjangoSessionConfig{
		DSN:   "sqlite:testdata/django_custom_user.sqlite3",
		Model: UserModel{Table: "accounts_user", PrimaryKey: "id", NameColumn: "email", ActiveColumn: "is_active", PasswordColumn: "password"},
	})
	for _, u := range f.Users {
		id, err := verify(t, v, u.SessionID)
		switch {
		case !u.Active:
			wantRefusal(t, err, ErrRejected, ReasonInactiveUser, u.SessionID)
		case err != nil || id.Subject != u.ID || id.Name != u.Email:
			t.Errorf("got %+v, %v, want %+v", id, err, u)
		}
	}
}

// TestDjangoSessionUnavailable has a server that is down, and a file that was closed.
func TestDjangoSessionUnavailable(t *testing.T) {
	f := loadDjango(t, "fixtures.json")
	key := f.Table["alice_login"].SessionID
	const dsn = "postgres://u:s3cr3t-pw@127.0.0.1:1/d?sslmode=disable"
	down := newDjangoSession(t, DjangoSessionConfig{DSN: dsn, Timeout: time.Second})
	_, err := verify(t, down, key)
	wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, key, "s3cr3t-pw")
	cookies := newDjangoSession(t, DjangoSessionConfig{DSN: dsn, Engine: EngineSignedCookies, Timeout: time.Second})
	_, err = verify(t, cookies, f.Cookies["alice"].SessionID)
	wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, f.Cookies["alice"].SessionID)
	if down.Check(t.Context()) == nil || cookies.Check(t.Context()) == nil {
		t.Error("a server that is down passes")
	}
	// Who is nobody needs no server.
	wantUser(t, down, "short", nil, "")
	wantUser(t, cookies, f.Cookies["alice_tampered"].SessionID, nil, ReasonBadSignature)
}

// TestDjangoSessionStacked stacks it behind a token, as the middlewares of a site are.
func TestDjangoSessionStacked(t *testing.T) {
	f := loadDjango(t, "fixtures.json")
	dave, anonymous, gone := f.Table["dave"].SessionID, f.Table["anonymous"].SessionID, f.Table["gone_deleted"].SessionID
	chain := must(NewChain(
		Source{Extractor: must(NewHeader("Authorization", "Token")), Verifier: newDRFToken(t, DRFTokenConfig{DSN: sqliteDSN}), Name: "drf"},
		Source{Extractor: must(NewCookie("sessionid")), Verifier: newDjangoSession(t, DjangoSessionConfig{}), Name: "site"},
		Source{Extractor: must(NewCookie("JWT")), Verifier: newTestJWT(t, nil), Name: "jwt"},
	))
	jwt := "; JWT=" + signed(`{"exp":3976214400,"user_id":7}`)
	for _, c := range []struct {
		header, cookie, by string
		kind               error
	}{
		{"Token " + aliceKey, "sessionid=" + dave, "header Authorization, drf", nil},
		{"", "sessionid=" + dave, "cookie sessionid, site", nil},
		{"Bearer x", "sessionid=" + dave, "cookie sessionid, site", nil},
		{"Token nobodys", "sessionid=" + dave, "", ErrRejected},
		{"", "sessionid=" + anonymous + jwt, "cookie JWT, jwt", nil}, // nobody is logged in: the next place
		{"", "sessionid=x" + jwt, "cookie JWT, jwt", nil},
		{"", "sessionid=" + gone + jwt, "", ErrRejected},
		{"", "sessionid=" + anonymous, "", ErrAbsent},
	} {
		r := &Request{Cookie: []byte(c.cookie), Authorization: []byte(c.header), HasAuthorization: c.header != ""}
		found, err := chain.Find(t.Context(), r)
		if !errors.Is(err, c.kind) || found.By != c.by {
			t.Errorf("%s, %.20s…: by %q, %v, want %q, %v", c.header, c.cookie, found.By, err, c.by, c.kind)
		}
	}
}

func BenchmarkDjangoSession(b *testing.B) {
	f := loadDjango(b, "fixtures.json")
	for engine, key := range map[string]string{EngineDB: f.Table["alice_login"].SessionID, EngineSignedCookies: f.Cookies["alice"].SessionID} {
		b.Run(engine, func(b *testing.B) {
			v := newDjangoSession(b, DjangoSessionConfig{Engine: engine})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), Credential{From: "cookie", Value: []byte(key)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
