package django

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

const modelBackend = "django.contrib.auth.backends.ModelBackend"

// sessionFixture is a session of a real Django, and who it is of: nil is nobody.
type sessionFixture struct {
	SessionID, Note, File string
	Expect                *string
	Data                  string    `json:"session_data"`
	Expires               time.Time `json:"expire_date"`
}

type sessionFixtures struct {
	Secret string `json:"secret_key"`
	Users  []struct {
		ID       int
		Username string
		Active   bool `json:"is_active"`
		Password string
		Hash     string `json:"session_auth_hash"`
	}
	Store   map[string]sessionFixture `json:"sessions_db"`
	Cookies map[string]sessionFixture `json:"sessions_signed_cookies"`
}

func loadSessions(t testing.TB, file string) sessionFixtures {
	t.Helper()
	var f sessionFixtures
	loadJSON(t, "../testdata/"+file, &f)
	return f
}

// decide is django.contrib.auth.get_user as channels.auth has it: the name of the user, or "" for nobody.
func (f sessionFixtures) decide(s Session, err error, hashes *AuthHash) string {
	if err != nil || !s.LoggedIn || s.Backend != modelBackend {
		return ""
	}
	for _, u := range f.Users {
		if strconv.Itoa(u.ID) == s.UserID && u.Active && hashes.Matches(u.Password, s.Hash) {
			return u.Username
		}
	}
	return ""
}

// TestDecidesAsDjango reads every session of the fixtures as Django 3.2 does (Legacy), and as 4.0 and later do.
func TestDecidesAsDjango(t *testing.T) {
	needLegacy := map[string]bool{"alice_legacy_format": true, "alice_sha1_signature": true}
	for _, file := range []string{"fixtures.json", "fixtures_pg.json"} {
		f := loadSessions(t, file)
		hashes := must(NewAuthHash(f.Secret, nil))
		for _, engine := range []struct {
			cookies bool
			list    map[string]sessionFixture
		}{{false, f.Store}, {true, f.Cookies}} {
			if len(engine.list) == 0 {
				t.Fatalf("%s: no sessions", file)
			}
			for name, session := range engine.list {
				data := session.Data
				if engine.cookies {
					data = session.SessionID
				}
				for _, legacy := range []bool{true, false} {
					want := ""
					// What raised an error in Django ("error") is nobody.
					if session.Expect != nil && *session.Expect != "error" && (legacy || !needLegacy[name]) {
						want = *session.Expect
					}
					d := must(NewSessions(SessionsConfig{Secret: f.Secret, Cookies: engine.cookies, Legacy: legacy}))
					s, err := d.Decode([]byte(data))
					now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC) // a day after alice_now was made
					if engine.cookies && now.Sub(s.Signed) > 14*24*time.Hour || !engine.cookies && !now.Before(session.Expires) {
						continue // over: that is the caller's to see
					}
					if got := f.decide(s, err, hashes); got != want {
						t.Errorf("%s: %s (%s), legacy %v: got %q, %v, want %q", file, name, session.Note, legacy, got, err, want)
					}
				}
			}
		}
	}
}

func TestAuthHash(t *testing.T) {
	f := loadSessions(t, "fixtures.json")
	now := must(NewAuthHash(f.Secret, nil))
	rotated := must(NewAuthHash("new", []string{"newer", f.Secret}))
	other := must(NewAuthHash("other", nil))
	for _, u := range f.Users {
		if !now.Matches(u.Password, u.Hash) || !rotated.Matches(u.Password, u.Hash) {
			t.Errorf("%s: the hash does not match", u.Username)
		}
		for _, hash := range []string{"", u.Hash[:63], u.Hash + "0", strings.ToUpper(u.Hash), f.Users[0].Hash[:10]} {
			if now.Matches(u.Password, hash) {
				t.Errorf("%s: %q matches", u.Username, hash)
			}
		}
		if now.Matches(u.Password+"x", u.Hash) || other.Matches(u.Password, u.Hash) {
			t.Errorf("%s: the hash of another password or secret matches", u.Username)
		}
	}
	if _, err := NewAuthHash("", nil); err == nil {
		t.Error("no secret made a hash")
	}
}

func TestDecodeOddSessions(t *testing.T) {
	d := must(NewSessions(SessionsConfig{Secret: fixtureSecret}))
	for content, want := range map[string]Session{
		`{}`:                    {},
		`{"_auth_user_id":"1"}`: {},
		`{"_auth_user_backend":"b","_auth_user_hash":"h"}`:                          {},
		`{"_auth_user_id":"1","_auth_user_backend":"b"}`:                            {LoggedIn: true, UserID: "1", Backend: "b"},
		`{"_auth_user_id":1,"_auth_user_backend":"b","_auth_user_hash":"h"}`:        {LoggedIn: true, UserID: "1", Backend: "b", Hash: "h"},
		`{"_auth_user_id":null,"_auth_user_backend":"b"}`:                           {LoggedIn: true, Backend: "b"},
		`{"_auth_user_id":true,"_auth_user_backend":["b"],"_auth_user_hash":1}`:     {LoggedIn: true},
		`{"_auth_user_id":1.0,"_auth_user_backend":"b","x":NaN}`:                    {LoggedIn: true, Backend: "b"},
		`{"_auth_user_id":"zo\u00eb","_auth_user_backend":"b","_auth_user_hash":0}`: {LoggedIn: true, UserID: "zoë", Backend: "b"},
		"{\"_auth_user_id\":\"zo\xeb\",\"_auth_user_backend\":\"b\"}":               {LoggedIn: true, UserID: "zoë", Backend: "b"}, // Latin-1
	} {
		want.Signed = time.Unix(5, 0)
		if got, err := d.Decode([]byte(d.signer.Dumps([]byte(content), want.Signed))); err != nil || got.String() != want.String() {
			t.Errorf("%s: got %v, %v, want %v", content, got, err, want)
		}
	}
	for _, content := range []string{"", "null", "[]", `"a"`, "1", "{", "\x80\x04}q\x00."} {
		if _, err := d.Decode([]byte(d.signer.Dumps([]byte(content), time.Unix(5, 0)))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// String is for comparisons in tests.
func (s Session) String() string {
	return strings.Join([]string{map[bool]string{true: "in", false: "out"}[s.LoggedIn], s.UserID, s.Backend, s.Hash, s.Signed.String()}, "|")
}

// TestFileEnds has what SessionBase.get_expiry_age of Django 4.2 makes of _session_expiry.
func TestFileEnds(t *testing.T) {
	berlin := must(time.LoadLocation("Europe/Berlin"))
	modified := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	usual := modified.Add(time.Hour)
	for expiry, want := range map[string]struct {
		ends time.Time
		ok   bool
	}{
		"": {usual, true}, "null": {usual, true}, "0": {usual, true}, "0.0": {usual, true}, "-0": {usual, true}, `""`: {usual, true},
		"false": {usual, true}, "[ ]": {usual, true}, "{}": {usual, true},
		"300": {time.Time{}, true}, "1e400": {time.Time{}, true}, "true": {time.Time{}, true}, "NaN": {time.Time{}, true}, "Infinity": {time.Time{}, true},
		"-5": {time.Time{}, false}, "-Infinity": {time.Time{}, false}, "[1]": {time.Time{}, false}, `{"a":1}`: {time.Time{}, false},
		`"2096-01-01T00:00:00+00:00"`:        {time.Date(2096, 1, 1, 0, 0, 0, 0, time.UTC), true},
		`"2096-01-01T02:00:00.500000+02:00"`: {time.Date(2096, 1, 1, 0, 0, 0, 5e8, time.UTC), true},
		`"2096-01-01T01:00:00"`:              {time.Date(2096, 1, 1, 0, 0, 0, 0, time.UTC), true}, // in Berlin
		`"2096-01-01 01:00:00.25"`:           {time.Date(2096, 1, 1, 0, 0, 0, 25e7, time.UTC), true},
		`"0001-01-01T00:00:00+00:00"`:        {time.Time{}, false}, // not Go's zero time, which never comes
		`"tomorrow"`:                         {time.Time{}, false}, `"\ud800"`: {time.Time{}, false},
	} {
		ends, ok := Session{expiry: Value(expiry)}.FileEnds(modified, time.Hour, berlin)
		if ok != want.ok || !ends.Equal(want.ends) {
			t.Errorf("%s: got %v, %v, want %v, %v", expiry, ends, ok, want.ends, want.ok)
		}
	}
}

func TestSessionFile(t *testing.T) {
	var f struct {
		Secret string                    `json:"secret_key"`
		Files  map[string]sessionFixture `json:"sessions_file"`
	}
	loadJSON(t, "../testdata/fixtures.json", &f)
	d := must(NewSessions(SessionsConfig{Secret: f.Secret}))
	for name, file := range f.Files {
		content, err := os.ReadFile("../testdata/session_files/" + file.File)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := d.Decode(content); err != nil || s.UserID != "1" {
			t.Errorf("%s: got %v, %v", name, s, err)
		}
	}
}

func FuzzSession(f *testing.F) {
	store := must(NewSessions(SessionsConfig{Secret: fixtureSecret, Legacy: true}))
	cookies := must(NewSessions(SessionsConfig{Secret: fixtureSecret, Cookies: true}))
	fixtures := loadSessions(f, "fixtures.json")
	for _, s := range fixtures.Store {
		f.Add([]byte(s.Data))
	}
	for _, s := range fixtures.Cookies {
		f.Add([]byte(s.SessionID))
	}
	var odd []struct{ Key, Data string }
	loadJSON(f, "../testdata/sessions_odd.json", &odd)
	for _, s := range odd {
		f.Add([]byte(s.Key))
		f.Add([]byte(s.Data))
	}
	f.Add([]byte(`{"_auth_user_id":"1","_auth_user_backend":"b","_auth_user_hash":"h","_session_expiry":"2096-01-01T00:00:00"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range []*Sessions{store, cookies} {
			forged := append(append([]byte(nil), b...), 'A')
			if _, err := d.Decode(b); err == nil {
				if _, err := d.Decode(forged); err == nil {
					t.Errorf("a signature with one more character is good: %q", forged)
				}
			}
			s, err := d.Decode([]byte(d.signer.Dumps(b, time.Unix(1, 0))))
			switch {
			case err != nil:
			case !s.LoggedIn && s.UserID+s.Backend+s.Hash != "":
				t.Errorf("%q: nobody is logged in, and it names somebody: %v", b, s)
			default:
				s.FileEnds(time.Unix(0, 0), time.Hour, time.UTC)
			}
		}
	})
}
