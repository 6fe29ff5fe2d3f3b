package authn

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
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

// copyDatabase returns a copy of the fixture that a test may break.
func copyDatabase(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/django.sqlite3")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSQLiteFileNames(t *testing.T) {
	for _, name := range []string{"a b.sqlite3", "what?.sqlite3", "100%41.sqlite3", "a#b.sqlite3", "a&mode=rwc.sqlite3", "é+.sqlite3"} {
		v := newDRFToken(t, DRFTokenConfig{DSN: "sqlite:" + copyDatabase(t, name)})
		if _, err := verify(t, v, aliceKey); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestSQLiteDown goes through what can happen to a file. None of it says anything about the client.
func TestSQLiteDown(t *testing.T) {
	t.Run("removed", func(t *testing.T) {
		path := copyDatabase(t, "db")
		v := newDRFToken(t, DRFTokenConfig{DSN: "sqlite:" + path})
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		_, err := verify(t, v, aliceKey)
		wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, aliceKey)
		if _, err := os.Stat(path); err == nil {
			t.Error("the file was made anew")
		}
	})
	t.Run("no database", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := verify(t, newDRFToken(t, DRFTokenConfig{DSN: "sqlite:" + path}), aliceKey)
		wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, aliceKey)
	})
	t.Run("tables that come later", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		v := newDRFToken(t, DRFTokenConfig{DSN: "sqlite:" + path})
		_, err := verify(t, v, "k1")
		wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable)
		writeDatabase(t, path, `CREATE TABLE auth_user (id integer PRIMARY KEY, username varchar(150), is_active bool);
			CREATE TABLE authtoken_token (key varchar(40) PRIMARY KEY, user_id integer);
			INSERT INTO auth_user VALUES (5, 'eve', 1); INSERT INTO authtoken_token VALUES ('k1', 5)`)
		if id, err := verify(t, v, "k1"); err != nil || id.Subject != "5" || id.Name != "eve" {
			t.Errorf("got %+v, %v", id, err)
		}
	})
	t.Run("locked", func(t *testing.T) {
		path := copyDatabase(t, "db")
		v := newDRFToken(t, DRFTokenConfig{DSN: "sqlite:" + path, Timeout: 50 * time.Millisecond})
		db := must(sql.Open("sqlite", path))
		defer db.Close()
		db.SetMaxOpenConns(1)
		if _, err := db.Exec("BEGIN EXCLUSIVE"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err := verify(t, v, aliceKey)
		wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, aliceKey)
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("it took %v", d)
		}
		if _, err := db.Exec("ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		if _, err := verify(t, v, aliceKey); err != nil {
			t.Errorf("after the lock: %v", err)
		}
	})
}

func writeDatabase(t *testing.T, path, statements string) {
	t.Helper()
	db := must(sql.Open("sqlite", path))
	defer db.Close()
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
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

func TestSQLiteIsReadOnly(t *testing.T) {
	path := copyDatabase(t, "db")
	db, err := openSQLite(databaseConfig{dsn: "sqlite:" + path, timeout: time.Second}, "DELETE FROM authtoken_token RETURNING key")
	if err != nil {
		t.Fatal(err)
	}
	if found, err := db.first(t.Context(), nil); err == nil {
		t.Errorf("a DELETE went through, with a row: %v", found)
	}
	var queryOnly int // beside the mode of the file: an attached one would be writable
	if err := db.db.QueryRow("PRAGMA query_only").Scan(&queryOnly); err != nil || queryOnly != 1 {
		t.Errorf("query_only is %d, %v", queryOnly, err)
	}
	if _, err := db.db.Exec("PRAGMA query_only = 0; DELETE FROM authtoken_token"); err == nil {
		t.Error("the file was opened for writing")
	}
	if err := db.close(); err != nil {
		t.Error(err)
	}
	if _, err := verify(t, newDRFToken(t, DRFTokenConfig{DSN: "sqlite:" + path}), aliceKey); err != nil {
		t.Error(err)
	}
}

// TestPostgresDown needs no PostgreSQL: nobody listens, or somebody who never answers.
func TestPostgresDown(t *testing.T) {
	refusing := must(net.Listen("tcp", "127.0.0.1:0"))
	address := refusing.Addr().String()
	refusing.Close()

	silent := must(net.Listen("tcp", "127.0.0.1:0"))
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		silent.Close()
		wg.Wait()
	})
	for name, dsn := range map[string]string{
		"nobody listens": "postgres://fairlead:s3cr3t-pw@" + address + "/x?sslmode=disable",
		"no answer":      "postgres://fairlead:s3cr3t-pw@" + silent.Addr().String() + "/x?sslmode=disable",
	} {
		t.Run(name, func(t *testing.T) {
			v := newDRFToken(t, DRFTokenConfig{DSN: dsn, Timeout: 200 * time.Millisecond})
			start := time.Now()
			for range 2 {
				id, err := verify(t, v, aliceKey)
				if id != nil {
					t.Fatalf("got %+v", id)
				}
				wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, aliceKey, "s3cr3t-pw")
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("it took %v", d)
			}
			if err := v.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNewDRFTokenRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		config DRFTokenConfig
		want   string
	}{
		{"no dsn", DRFTokenConfig{}, "no scheme"},
		{"a path", DRFTokenConfig{DSN: "testdata/django.sqlite3"}, "no scheme"},
		{"unknown scheme", DRFTokenConfig{DSN: "mysql://u:s3cr3t-pw@h/d"}, `"mysql:"`},
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

func TestPostgresPoolSize(t *testing.T) {
	for dsn, want := range map[string]int32{
		"postgres://h/d":                  DefaultMaxConns,
		"postgres://h/d?pool_max_conns=3": 3,
		"postgresql://h/d":                DefaultMaxConns,
	} {
		db, err := openPostgres(t.Context(), databaseConfig{dsn: dsn, timeout: time.Second}, "SELECT 1")
		if err != nil {
			t.Fatal(err)
		}
		if got := db.pool.Config().MaxConns; got != want {
			t.Errorf("%s: %d connections, want %d", dsn, got, want)
		}
		if err := db.close(); err != nil {
			t.Error(err)
		}
	}
	db, err := openPostgres(t.Context(), databaseConfig{dsn: "postgres://h/d", timeout: time.Second, maxConns: 5}, "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	if got := db.pool.Config().MaxConns; got != 5 {
		t.Errorf("%d connections, want 5", got)
	}
	if err := db.close(); err != nil {
		t.Error(err)
	}
}

func TestScrub(t *testing.T) {
	quoting := errors.New(`invalid byte sequence in "SECRET"`)
	if got := scrub(quoting, "SECRET"); strings.Contains(got.Error(), "SECRET") || errors.Is(got, quoting) {
		t.Errorf("got %v", got)
	}
	if got := scrub(quoting, "other"); !errors.Is(got, quoting) {
		t.Errorf("got %v", got)
	}
}

// quotingDatabase fails as some servers do: with what it was asked.
type quotingDatabase struct{}

func (quotingDatabase) first(_ context.Context, args []any, _ ...any) (bool, error) {
	return false, fmt.Errorf("cannot make sense of %q", args)
}

func (quotingDatabase) close() error { return nil }

func TestDRFTokenScrubsTheDatabase(t *testing.T) {
	v := newDRFToken(t, DRFTokenConfig{DSN: sqliteDSN})
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v.db = quotingDatabase{}
	_, err := verify(t, v, aliceKey)
	wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, aliceKey)
}

func TestDRFTokenIsMeasured(t *testing.T) {
	r := prometheus.NewRegistry()
	v := newDRFToken(t, DRFTokenConfig{DSN: sqliteDSN, Registerer: r})
	_, _ = verify(t, v, aliceKey)
	_, _ = verify(t, v, "")
	if n := testutil.CollectAndCount(v.seconds.observer.(prometheus.Collector)); n != 1 {
		t.Errorf("%d children", n)
	}
	families := must(r.Gather())
	if n := families[0].GetMetric()[0].GetHistogram().GetSampleCount(); n != 2 {
		t.Errorf("%d observations, want 2", n)
	}
}

func BenchmarkDRFTokenSQLite(b *testing.B) {
	benchmarkVerify(b, newDRFToken(b, DRFTokenConfig{DSN: sqliteDSN}), aliceKey, true)
}
