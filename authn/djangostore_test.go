package authn

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/authn/django"
)

func signSession(content string, at time.Time) string {
	return must(django.NewSigner(django.SignerConfig{Salt: "django.contrib.sessions.SessionStore", Secret: fixtureSecret})).Dumps([]byte(content), at)
}

func loggedIn(more string) string {
	return `{"_auth_user_id":"1","_auth_user_backend":"` + ModelBackend +
		`","_auth_user_hash":"489b4333c3a9e78cebed01d24c5deb3fc0ac54144dcc543d8768986009c87b72"` + more + `}`
}

func TestDjangoSessionTimeZone(t *testing.T) {
	dsn, exec := sqliteCopy(t)
	key := loadDjango(t, "fixtures.json").Table["alice_login"].SessionID
	exec(`UPDATE django_session SET expire_date = '2026-11-24 00:30:00.5' WHERE session_key = ?`, key)
	alice := "alice"
	wantUser(t, newDjangoSession(t, DjangoSessionConfig{DSN: dsn}), key, &alice, "")
	berlin := newDjangoSession(t, DjangoSessionConfig{DSN: dsn, Location: must(time.LoadLocation("Europe/Berlin"))})
	wantUser(t, berlin, key, nil, ReasonExpired) // there it was half an hour ago
	exec(`UPDATE django_session SET expire_date = '2026-11-24 01:00:00.5' WHERE session_key = ?`, key)
	id, err := verify(t, berlin, key)
	if err != nil || !id.Expires.Equal(fixtureNow().Add(500*time.Millisecond)) {
		t.Errorf("got %+v, %v", id, err)
	}
	exec(`UPDATE django_session SET expire_date = '0001-01-01 00:00:00' WHERE session_key = ?`, key)
	wantUser(t, newDjangoSession(t, DjangoSessionConfig{DSN: dsn}), key, nil, ReasonExpired)
}

func TestDjangoSessionConfig(t *testing.T) {
	for want, c := range map[string]DjangoSessionConfig{
		"SECRET_KEY": {DSN: sqliteDSN},
		"fallback":   {DSN: sqliteDSN, Secret: "s3cr3t", Fallbacks: []string{""}},
		"dsn":        {Secret: "s3cr3t"},
		"engine":     {DSN: sqliteDSN, Secret: "s3cr3t", Engine: "cache"},
		"age":        {DSN: sqliteDSN, Secret: "s3cr3t", CookieAge: -1},
		"backends":   {DSN: sqliteDSN, Secret: "s3cr3t", Backends: []string{}},
		"table":      {DSN: sqliteDSN, Secret: "s3cr3t", Table: "a..b"},
		"folder":     {DSN: sqliteDSN, Secret: "s3cr3t", Engine: EngineFile, Dir: "testdata/nowhere"},
		"is none":    {DSN: sqliteDSN, Secret: "s3cr3t", Engine: EngineFile, Dir: "testdata/fixtures.json"},
		"cookie's":   {DSN: sqliteDSN, Secret: "s3cr3t", Engine: EngineFile, Dir: "testdata", Cookie: "../x"},
		"name":       {DSN: sqliteDSN, Secret: "s3cr3t", Name: "a b"},
	} {
		if _, err := NewDjangoSession(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("got %v, want something of %q", err, want)
		}
	}
}

// TestOddSessions has sessions with content that no site writes, and who Channels said it is.
func TestOddSessions(t *testing.T) {
	var sessions []struct {
		Name, Engine, Key, Data string
		User                    *string
	}
	loadJSON(t, "sessions_odd.json", &sessions)
	dsn, exec := sqliteCopy(t)
	dir := t.TempDir()
	backends := []string{ModelBackend, "django.contrib.auth.backends.AllowAllUsersModelBackend"}
	verifiers := map[string]*DjangoSession{}
	for _, engine := range []string{EngineDB, EngineFile, EngineSignedCookies} {
		verifiers[engine] = newDjangoSession(t, DjangoSessionConfig{DSN: dsn, Engine: engine, Dir: dir, Backends: backends, Legacy: true})
	}
	for _, s := range sessions {
		t.Run(s.Engine+", "+s.Name, func(t *testing.T) {
			switch s.Engine {
			case EngineDB:
				exec(`INSERT INTO django_session VALUES (?, ?, '2096-01-01 00:00:00')`, s.Key, s.Data)
			case EngineFile:
				if err := os.WriteFile(filepath.Join(dir, "sessionid"+s.Key), []byte(s.Data), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want := "nobody"
			// int() makes 1 of true and of 1.0; a primary key has one spelling here.
			if s.User != nil && *s.User != "error" && s.Name != "float id" && s.Name != "true id" {
				want = *s.User
			}
			got := "nobody"
			id, err := verify(t, verifiers[s.Engine], s.Key)
			if err == nil {
				got = id.Name
			} else if errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("got %s, %v, want %s", got, err, want)
			}
		})
	}
	if len(sessions) < 150 {
		t.Errorf("only %d sessions", len(sessions))
	}
}
