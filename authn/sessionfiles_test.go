package authn

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
)

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

// A folder that does not answer keeps nobody waiting for longer than they would, and takes so many threads and no more.
func TestDjangoSessionFilesHang(t *testing.T) {
	v := newDjangoSession(t, DjangoSessionConfig{Engine: EngineFile, Dir: t.TempDir(), CookieAge: time.Hour})
	files := v.store.(*sessionFiles)
	synctest.Test(t, func(t *testing.T) {
		files.slots = make(chan struct{}, maxFileLookups)
		release := make(chan struct{})
		files.deviceOf = func(fs.FileInfo) uint64 {
			<-release
			return files.device.Load()
		}
		for range 3 * maxFileLookups {
			start := time.Now()
			_, err := v.Verify(t.Context(), Credential{From: "cookie", Value: []byte("nobodyhas")})
			wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, "nobodyhas")
			if took := time.Since(start); !errors.Is(err, errNoAnswer) || took != database.DefaultTimeout {
				t.Fatalf("got %v after %v", err, took)
			}
		}
		if err := v.Check(t.Context()); !errors.Is(err, errNoAnswer) {
			t.Errorf("Check says %v", err)
		}
		gone, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := v.Verify(gone, Credential{From: "cookie", Value: []byte("nobodyhas")}); errors.Is(err, errNoAnswer) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("who did not wait hears %v", err)
		}
		if n := len(files.slots); n != maxFileLookups {
			t.Errorf("%d look-ups wait for the folder, want %d", n, maxFileLookups)
		}
		close(release)
		synctest.Wait()
		wantUser(t, v, "nobodyhas", nil, ReasonUnknownToken)
	})
}
