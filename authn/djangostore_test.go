package authn

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
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

func TestDjangoSessionFiles(t *testing.T) {
	f := loadDjango(t, "fixtures.json")
	dir := t.TempDir()
	v := newDjangoSession(t, DjangoSessionConfig{Engine: EngineFile, Dir: dir, CookieAge: time.Hour})
	put := func(key, content string, age time.Duration) {
		t.Helper()
		path := filepath.Join(dir, "sessionid"+key)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if at := fixtureNow().Add(-age); os.Chtimes(path, at, at) != nil {
			t.Fatal("the time of the file cannot be set")
		}
	}
	made := must(os.ReadFile("testdata/session_files/" + f.Files["alice"].File))
	alice := "alice"
	for key, c := range map[string]struct {
		content string
		age     time.Duration
		user    *string
		reason  Reason
	}{
		f.Files["alice"].SessionID: {string(made), 0, &alice, ""},
		"wasgood1":                 {string(made), time.Hour, nil, ReasonExpired},
		"lastsecond":               {string(made), time.Hour - time.Second, nil, ReasonExpired}, // Django wants a whole second
		"almostover":               {string(made), time.Hour - 2*time.Second, &alice, ""},
		"unfilled":                 {"", 0, nil, ""},
		"loggedout":                {signSession(`{"cart":[1]}`, fixtureNow()), 0, nil, ""},
		"goneanonymous":            {signSession(`{"cart":[1]}`, fixtureNow()), 24 * time.Hour, nil, ""},
		"inseconds":                {signSession(loggedIn(`,"_session_expiry":300`), fixtureNow()), 24 * time.Hour, &alice, ""}, // as Django has it
		"atbrowserclose":           {signSession(loggedIn(`,"_session_expiry":0`), fixtureNow()), 0, &alice, ""},
		"negative":                 {signSession(loggedIn(`,"_session_expiry":-1`), fixtureNow()), 0, nil, ReasonExpired},
		"dated123":                 {signSession(loggedIn(`,"_session_expiry":"2026-11-24T00:00:02+00:00"`), fixtureNow()), 24 * time.Hour, &alice, ""},
		"datedpast":                {signSession(loggedIn(`,"_session_expiry":"2026-11-24T00:00:00+00:00"`), fixtureNow()), 0, nil, ReasonExpired},
		"binary12":                 {"\x80\x04}q\x00.", 0, nil, ReasonBadSignature},
		"toolarge":                 {strings.Repeat("A", maxSessionFile+1), 0, nil, ReasonMalformed},
	} {
		t.Run(key, func(t *testing.T) {
			put(key, c.content, c.age)
			wantUser(t, v, key, c.user, c.reason)
		})
	}
	// No other file is ever looked at: none of these may be a path.
	outside := filepath.Join(filepath.Dir(dir), "outsider")
	if err := os.WriteFile(outside, made, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "sessionidinside12"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"../outsider", "/../outsider", "x/../../outsider", "inside12/../../outsider", strings.ToUpper(f.Files["alice"].SessionID), "nobodyhas", "abc.defgh", strings.Repeat("a", 200), "abcdefg\x00"} {
		wantUser(t, v, key, nil, ReasonUnknownToken)
	}
	_, err := verify(t, v, "inside12")
	wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, "inside12")
	if err := os.Symlink(outside, filepath.Join(dir, "sessionidlinkedto")); err != nil {
		t.Fatal(err)
	}
	_, err = verify(t, v, "linkedto")
	wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, "linkedto")
	// A folder that is gone is no folder without sessions.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	_, err = verify(t, v, "nobodyhas")
	wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, "nobodyhas")
	if v.Check(t.Context()) == nil {
		t.Error("a folder that is gone passes")
	}
}

// The folder of a volume that is not mounted is empty, and on the device of what it would be mounted to. Nobody who is logged
// in is rejected then; one who is logged in when it is there again ends the doubt, as the device may have a new number.
func TestDjangoSessionFilesUnmounted(t *testing.T) {
	f := loadDjango(t, "fixtures.json")
	dir := t.TempDir()
	v := newDjangoSession(t, DjangoSessionConfig{Engine: EngineFile, Dir: dir, CookieAge: time.Hour})
	key, alice := f.Files["alice"].SessionID, "alice"
	made := must(os.ReadFile("testdata/session_files/" + f.Files["alice"].File))
	path := filepath.Join(dir, "sessionid"+key)
	files := v.store.(*sessionFiles)
	own := files.device.Load()
	on := func(device uint64, mounted bool) {
		t.Helper()
		files.deviceOf = func(fs.FileInfo) uint64 { return device }
		err := os.Remove(path)
		if mounted {
			if err = os.WriteFile(path, made, 0o600); err == nil {
				err = os.Chtimes(path, fixtureNow(), fixtureNow())
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if own == 0 && runtime.GOOS == "linux" {
		t.Error("nobody knows which device the folder is on")
	}
	on(own, false)
	wantUser(t, v, key, nil, ReasonUnknownToken)
	on(own+1, false)
	_, err := verify(t, v, key)
	wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, key)
	on(own, false)
	wantUser(t, v, key, nil, ReasonUnknownToken)
	on(own+1, false)
	_, err = verify(t, v, key)
	wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, key)
	on(own+2, true)
	wantUser(t, v, key, &alice, "")
	wantUser(t, v, "nobodyhas", nil, ReasonUnknownToken)
	on(own+2, false)
	wantUser(t, v, key, nil, ReasonUnknownToken)
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
