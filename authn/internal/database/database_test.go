package database

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func open(t testing.TB, c Config) *DB {
	t.Helper()
	db, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestSQLiteIsReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	writer, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if _, err := writer.Exec("CREATE TABLE t (k text); INSERT INTO t VALUES ('a')"); err != nil {
		t.Fatal(err)
	}
	db := open(t, Config{DSN: "sqlite:" + path})
	if found, err := db.Query("DELETE FROM t RETURNING k").Holds(t.Context(), nil); err == nil {
		t.Errorf("a DELETE went through, with a row: %v", found)
	}
	file := db.pool.backend.(*sqlBackend).db
	var queryOnly int // beside the mode of the file: an attached one would be writable
	if err := file.QueryRow("PRAGMA query_only").Scan(&queryOnly); err != nil || queryOnly != 1 {
		t.Errorf("query_only is %d, %v", queryOnly, err)
	}
	if _, err := file.Exec("PRAGMA query_only = 0; DELETE FROM t"); err == nil {
		t.Error("the file was opened for writing")
	}
	if found, err := db.Query("SELECT k FROM t").Holds(t.Context(), nil); err != nil || !found {
		t.Errorf("what was there: %v, %v", found, err)
	}
}

func TestColumnType(t *testing.T) {
	db := open(t, Config{DSN: "sqlite:../../testdata/django_custom_user.sqlite3"})
	for _, c := range []struct{ table, column, want string }{
		{"accounts_user", "id", "char(32)"},
		{"main.accounts_user", "id", "char(32)"},
		{"authtoken_token", "key", "varchar(40)"},
		{"accounts_user", "none", ""},
		{"none", "id", ""},
		{"temp.accounts_user", "id", ""},
	} {
		if got, found, err := db.ColumnType(t.Context(), c.table, c.column); err != nil || got != c.want || found != (c.want != "") {
			t.Errorf("%s of %s: got %q, %v, %v, want %q", c.column, c.table, got, found, err, c.want)
		}
	}
}

func TestPostgresPoolSize(t *testing.T) {
	for dsn, want := range map[string]int32{
		"postgres://h/d":                  DefaultMaxConns,
		"postgres://h/d?pool_max_conns=3": 3,
		"postgresql://h/d":                DefaultMaxConns,
	} {
		if got := open(t, Config{DSN: dsn}).pool.backend.(*postgresBackend).pool.Config().MaxConns; got != want {
			t.Errorf("%s: %d connections, want %d", dsn, got, want)
		}
	}
	db := open(t, Config{DSN: "postgres://h/d", MaxConns: 5})
	if got := db.pool.backend.(*postgresBackend).pool.Config().MaxConns; got != 5 {
		t.Errorf("%d connections, want 5", got)
	}
}

// A password that is not escaped is taken for a host or a database, which errors of the connection name.
func TestPasswordNotEscaped(t *testing.T) {
	for _, scheme := range []string{"postgres", "postgresql", "mysql"} {
		for _, rest := range []string{
			"u:a@SECRET@127.0.0.1:1/d", "u:1/SECRET@127.0.0.1:1/d", "u:a@SECRET,b@127.0.0.1:1/d", "u:1/b?SECRET@127.0.0.1:1/d",
			"u:1/SECRET?b@127.0.0.1:1/d", "u:a/SECRET@127.0.0.1/d", "u:a@b/SECRET@127.0.0.1/d", "u:1/SECRET?x=y@127.0.0.1:1/d",
			"u:1/SECRET?sslmode=disable&x=y@127.0.0.1:1/d", "u:1#SECRET@127.0.0.1:1/d", "u:a#SECRET@127.0.0.1/d", "u:1?host=SECRET@127.0.0.1:1/d",
			"u:1/d?port=SECRET@127.0.0.1:1/d", "u:a@SECRET/d?connect_timeout=1@127.0.0.1:1/d",
		} {
			dsn := scheme + "://" + rest
			db, err := Open(t.Context(), Config{DSN: dsn})
			if err == nil {
				_, err = db.Query("SELECT 1").Holds(t.Context(), nil)
				t.Errorf("%s is taken, and then: %v", dsn, errors.Join(err, db.Close()))
			} else if !strings.Contains(err.Error(), "%40") || strings.Contains(err.Error(), "SECRET") {
				t.Errorf("%s: %v", dsn, err)
			}
		}
	}
	open(t, Config{DSN: "postgres://u:a%40b%2Fc%3Fd@h/d?application_name=x%40y"})
	open(t, Config{DSN: "postgres://h/d?user=x%40y"})
	open(t, Config{DSN: "postgres:///d?host=%40abstract"})
	open(t, Config{DSN: "mysql://u:a%40b%2Fc%3Fd@h/d"})
}

func TestScrub(t *testing.T) {
	quoting := errors.New(`invalid byte sequence in "SECRET"`)
	if got := Scrub(quoting, "SECRET"); strings.Contains(got.Error(), "SECRET") || errors.Is(got, quoting) {
		t.Errorf("got %v", got)
	}
	if got := Scrub(quoting, "other"); !errors.Is(got, quoting) {
		t.Errorf("got %v", got)
	}
	db := open(t, Config{DSN: "postgres://django@127.0.0.1:1/django"})
	_, err := db.Query("SELECT 1").Holds(t.Context(), nil)
	for _, credential := range []string{"e", "refused", "django"} { // what a stranger sends must not hide what is wrong
		if got := Scrub(err, credential); got == nil || !strings.Contains(got.Error(), "refused") {
			t.Errorf("got %v", got)
		}
	}
}

func TestMySQLDSN(t *testing.T) {
	for dsn, want := range map[string][5]string{ // user, password, net, address, database
		"mysql://u:p%40ss@h/d":                         {"u", "p@ss", "tcp", "h:3306", "d"},
		"mysql://u@h:3307/d?tls=skip-verify":           {"u", "", "tcp", "h:3307", "d"},
		"mysql://u@[::1]/d":                            {"u", "", "tcp", "[::1]:3306", "d"},
		"mysql://u@/d?unix_socket=%2Frun%2Fmysql.sock": {"u", "", "unix", "/run/mysql.sock", "d"},
	} {
		c, err := parseMySQL(dsn)
		if err != nil {
			t.Errorf("%s: %v", dsn, err)
			continue
		}
		if got := [5]string{c.User, c.Passwd, c.Net, c.Addr, c.DBName}; got != want {
			t.Errorf("%s: got %q, want %q", dsn, got, want)
		}
	}
	for _, dsn := range []string{"mysql://u:s3cr3t@h", "mysql://u:s3cr3t@h/a/b", "mysql://u:s3cr3t@h:x/d", "mysql://u:s3cr3t@h/d?timeout=s3cr3t"} {
		if _, err := parseMySQL(dsn); err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: got %v", dsn, err)
		}
	}
}

func TestMySQLPoolSize(t *testing.T) {
	for dsn, want := range map[string]int{"mysql://h/d": DefaultMaxConns, "mysql://h/d?pool_max_conns=3": 3} {
		b := open(t, Config{DSN: dsn}).pool.backend.(*sqlBackend)
		if got := b.db.Stats().MaxOpenConnections; got != want || cap(b.slots) != want {
			t.Errorf("%s: %d connections, %d slots, want %d", dsn, got, cap(b.slots), want)
		}
	}
	for _, dsn := range []string{"mysql://h/d?pool_max_conns=x", "mysql://h/d?pool_max_conns=0", "mysql://h/d?pool_max_conns="} {
		if db, err := Open(t.Context(), Config{DSN: dsn}); err == nil {
			db.Close()
			t.Errorf("%s: no error", dsn)
		} else if !strings.Contains(err.Error(), "pool_max_conns") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		d          Dialect
		name, want string
	}{
		{PostgreSQL, "auth_user", `"auth_user"`},
		{PostgreSQL, `accounts."user`, `"accounts"."""user"`},
		{SQLite, "auth user; DROP TABLE x", `"auth user; DROP TABLE x"`},
		{MySQL, "a`b.c", "`a``b`.`c`"},
	} {
		if got, err := c.d.Name(c.name); err != nil || got != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.name, got, err, c.want)
		}
	}
	for _, name := range []string{"", ".", "a.", ".a", "a\x00b", strings.Repeat("a", 129)} {
		if got, err := PostgreSQL.Name(name); err == nil {
			t.Errorf("%q became %s", name, got)
		}
	}
}

func TestArrayLiteral(t *testing.T) {
	if got, want := arrayLiteral([]string{"a", `b"c\`, "", "{,}", "NULL"}), `{"a","b\"c\\","","{,}","NULL"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
