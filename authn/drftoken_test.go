package authn

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
)

const sqliteDSN = "sqlite:testdata/django.sqlite3"

func newDRFToken(t testing.TB, c DRFTokenConfig) *DRFToken {
	t.Helper()
	v, err := NewDRFToken(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// testDRFToken is what every database must answer. The end-to-end tests run it against PostgreSQL.
func testDRFToken(t *testing.T, dsn string, f fixtures) {
	refuse := newDRFToken(t, DRFTokenConfig{DSN: dsn})
	accept := newDRFToken(t, DRFTokenConfig{DSN: dsn, Name: "accepting", AcceptInactive: true})
	alice := f.Tokens["alice"].Key

	for name, token := range f.Tokens {
		t.Run("user "+name, func(t *testing.T) {
			id, err := verify(t, accept, token.Key)
			if err != nil {
				t.Fatal(err)
			}
			if id.Subject != strconv.Itoa(token.ID) || id.Name != token.User || id.Source != "accepting" || id.Anonymous || !id.Expires.IsZero() {
				t.Errorf("got %+v, want user %d, %s", id, token.ID, token.User)
			}
			if id, err = verify(t, refuse, token.Key); !token.Active {
				wantRefusal(t, err, ErrRejected, ReasonInactiveUser, token.Key)
			} else if err != nil || id.Subject != strconv.Itoa(token.ID) || id.Source != "drf_token" {
				t.Errorf("got %+v, %v", id, err)
			}
		})
	}
	for name, c := range map[string]struct {
		key    string
		reason Reason
	}{
		"unknown":              {strings.Repeat("f", 40), ReasonUnknownToken},
		"another case":         {strings.ToUpper(alice), ReasonUnknownToken},
		"a space behind":       {alice + " ", ReasonUnknownToken},
		"a space before":       {" " + alice, ReasonUnknownToken},
		"one digit more":       {alice + "0", ReasonUnknownToken},
		"one digit less":       {alice[:39], ReasonUnknownToken},
		"a line end behind":    {alice + "\n", ReasonUnknownToken},
		"a pattern":            {"%", ReasonUnknownToken},
		"SQL":                  {"' OR '1'='1", ReasonUnknownToken},
		"UTF-8":                {"é", ReasonUnknownToken},
		"longest":              {strings.Repeat("a", maxDRFKey), ReasonUnknownToken},
		"empty":                {"", ReasonMalformed},
		"a NUL":                {"a\x00b", ReasonMalformed},
		"a NUL behind the key": {alice + "\x00", ReasonMalformed},
		"no UTF-8":             {"\xff\xfe", ReasonMalformed},
		"too long":             {strings.Repeat("a", maxDRFKey+1), ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := verify(t, refuse, c.key)
			if id != nil {
				t.Fatalf("got %+v", id)
			}
			wantRefusal(t, err, ErrRejected, c.reason, c.key)
		})
	}
	t.Run("many at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				id, err := verify(t, refuse, alice)
				if err != nil || id.Subject != "1" {
					t.Errorf("%d: got %+v, %v", i, id, err)
				}
			})
		}
		wg.Wait()
	})
	t.Run("a client that has left", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		id, err := refuse.Verify(ctx, Credential{Value: []byte(alice)})
		if err == nil { // it may still be answered
			if id.Subject != "1" {
				t.Errorf("got %+v", id)
			}
			return
		}
		wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, alice)
	})
	t.Run("closed", func(t *testing.T) {
		v := newDRFToken(t, DRFTokenConfig{DSN: dsn})
		for range 2 {
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
		}
		_, err := verify(t, v, alice)
		wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, alice)
	})
}

func TestDRFTokenSQLite(t *testing.T) {
	testDRFToken(t, sqliteDSN, loadFixtures(t, "fixtures.json"))
}

// TestKeyIsComparedAfterTheQuery makes a database that finds more than it was asked for, as MySQL does.
func TestKeyIsComparedAfterTheQuery(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	writeDatabase(t, path, `CREATE TABLE auth_user (id integer PRIMARY KEY, username varchar(150), is_active bool);
		CREATE TABLE authtoken_token (key varchar(40) COLLATE NOCASE PRIMARY KEY, user_id integer);
		INSERT INTO auth_user VALUES (5, 'eve', 1); INSERT INTO authtoken_token VALUES ('abc', 5)`)
	v := newDRFToken(t, DRFTokenConfig{DSN: "sqlite:" + path})
	if id, err := verify(t, v, "abc"); err != nil || id.Subject != "5" {
		t.Errorf("got %+v, %v", id, err)
	}
	_, err := verify(t, v, "ABC")
	wantRefusal(t, err, ErrRejected, ReasonUnknownToken, "ABC", "abc")
}

func TestNewDRFTokenRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		config DRFTokenConfig
		want   string
	}{
		{"no dsn", DRFTokenConfig{}, "no scheme"},
		{"a path", DRFTokenConfig{DSN: "testdata/django.sqlite3"}, "no scheme"},
		{"unknown scheme", DRFTokenConfig{DSN: "oracle://u:s3cr3t-pw@h/d"}, `"oracle:"`},
		{"sqlite without a path", DRFTokenConfig{DSN: "sqlite:"}, `"sqlite:"`},
		{"a file that is not there", DRFTokenConfig{DSN: "sqlite:testdata/none.sqlite3"}, "none.sqlite3"},
		{"a directory", DRFTokenConfig{DSN: "sqlite:testdata"}, "directory"},
		{"no URL", DRFTokenConfig{DSN: "postgres://u:s3cr3t-pw@h:port/d"}, "no URL"},
		{"a special character", DRFTokenConfig{DSN: "postgres://u:%s3cr3t-pw@h/d"}, "no URL"},
		{"bad parameter", DRFTokenConfig{DSN: "postgres://u:s3cr3t-pw@h/d?pool_max_conns=x"}, "pool_max_conns"},
		{"bad sslmode", DRFTokenConfig{DSN: "postgres://u:s3cr3t-pw@h/d?sslmode=sure"}, "sslmode"},
		{"the password again", DRFTokenConfig{DSN: "postgres://u:s3cr3t-pw@h/d?pool_max_conns=s3cr3t-pw"}, "left out"},
		{"the password elsewhere", DRFTokenConfig{DSN: "postgres://u@h/d?password=s3cr3t-pw&pool_max_conns=s3cr3t-pw"}, "left out"},
		{"keyword form", DRFTokenConfig{DSN: "postgres:host=h password=s3cr3t-pw"}, "want"},
		{"negative timeout", DRFTokenConfig{DSN: sqliteDSN, Timeout: -1}, "timeout"},
		{"negative connections", DRFTokenConfig{DSN: sqliteDSN, MaxConns: -1}, "connections"},
		{"name", DRFTokenConfig{DSN: sqliteDSN, Name: "a b"}, "a b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := NewDRFToken(t.Context(), c.config)
			if err == nil {
				v.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error %q does not say %q", err, c.want)
			}
			wantNoSecret(t, err, "s3cr3t-pw")
		})
	}
}

// TestDRFTokenScrubsTheDatabase: some servers fail with what they were asked.
func TestDRFTokenScrubsTheDatabase(t *testing.T) {
	v := newDRFToken(t, DRFTokenConfig{DSN: sqliteDSN})
	v.tokens = database.NewLookup(v.db, database.LookupConfig[User]{
		One: "SELECT ?",
		Scan: func(scan func(...any) error) (key string, u User, err error) {
			return "", u, errors.Join(scan(&key), fmt.Errorf("cannot make sense of %q", key))
		},
	})
	_, err := verify(t, v, aliceKey)
	wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, aliceKey)
}

func TestDRFTokenIsMeasured(t *testing.T) {
	r := prometheus.NewRegistry()
	v := newDRFToken(t, DRFTokenConfig{DSN: sqliteDSN, Registerer: r})
	_, _ = verify(t, v, aliceKey)
	odd := []string{"", "a\x00b", aliceKey + "\x00", "\xff", strings.Repeat("a", maxDRFKey+1)}
	for _, key := range odd {
		_, _ = verify(t, v, key)
	}
	if n := testutil.CollectAndCount(v.seconds.observer.(prometheus.Collector)); n != 1 {
		t.Errorf("%d children", n)
	}
	for _, f := range must(r.Gather()) {
		m := f.GetMetric()[0]
		switch n := m.GetHistogram().GetSampleCount() + uint64(m.GetCounter().GetValue()); {
		case f.GetName() == "fairlead_auth_seconds" && n != uint64(1+len(odd)):
			t.Errorf("%d observations, want %d", n, 1+len(odd))
		case f.GetName() != "fairlead_auth_seconds" && n != 1:
			t.Errorf("%s: %d, want 1: nobody asks about what no column holds", f.GetName(), n)
		}
	}
}

func BenchmarkDRFTokenSQLite(b *testing.B) {
	benchmarkVerify(b, newDRFToken(b, DRFTokenConfig{DSN: sqliteDSN}), aliceKey, true)
}
