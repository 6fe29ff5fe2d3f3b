package authn

import (
	"database/sql"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

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

// TestServerDown needs no server: nobody listens, or somebody who never answers.
func TestServerDown(t *testing.T) {
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
		"no MySQL":       "mysql://fairlead:s3cr3t-pw@" + address + "/x",
		"a silent MySQL": "mysql://fairlead:s3cr3t-pw@" + silent.Addr().String() + "/x",
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
			if err := v.Check(t.Context()); err == nil {
				t.Error("Check finds nothing wrong")
			} else {
				wantNoSecret(t, err, "s3cr3t-pw")
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
