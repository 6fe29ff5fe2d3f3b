//go:build e2e

package authn

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
	"github.com/fairlead-ws/fairlead/session"
)

// mysqlEnv names the environment variable that holds the URL of a server whose user may create databases.
const mysqlEnv = "FAIRLEAD_TEST_MYSQL"

// mysqlDatabase makes an empty database of its own, and returns its DSN and what writes to it.
func mysqlDatabase(t testing.TB, options string) (dsn string, db *sql.DB) {
	t.Helper()
	server := os.Getenv(mysqlEnv)
	if server == "" {
		t.Fatalf("set %s to mysql://USER:PASSWORD@HOST:PORT/DATABASE; the user must be allowed to create databases", mysqlEnv)
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("the URL of the server cannot be read")
	}
	name := fmt.Sprintf("fairlead_authn_%d_%d", os.Getpid(), time.Now().UnixNano())
	open := func(name string) *sql.DB {
		c := mysql.NewConfig()
		c.User, c.Net, c.Addr, c.DBName, c.MultiStatements = u.User.Username(), "tcp", u.Host, name, true
		c.Passwd, _ = u.User.Password()
		db := sql.OpenDB(must(mysql.NewConnector(c)))
		t.Cleanup(func() { db.Close() })
		return db
	}
	admin := open("")
	must(admin.Exec("CREATE DATABASE " + name + " " + options))
	t.Cleanup(func() { must(admin.Exec("DROP DATABASE " + name)) })
	u.Path = "/" + name
	return u.String(), open(name)
}

// copyTable copies the rows of a table of a fixture.
func copyTable(t testing.TB, to *sql.DB, dsn, table string, columns ...string) {
	t.Helper()
	from := must(sql.Open("sqlite", strings.TrimPrefix(dsn, "sqlite:")))
	defer from.Close()
	rows := must(from.Query(`SELECT "` + strings.Join(columns, `", "`) + `" FROM ` + table))
	defer rows.Close()
	insert := "INSERT INTO " + table + " (`" + strings.Join(columns, "`, `") + "`) VALUES (?" + strings.Repeat(", ?", len(columns)-1) + ")"
	for rows.Next() {
		values := make([]any, len(columns))
		dest := make([]any, len(columns))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		must(to.Exec(insert, values...))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// djangoTables are as Django makes them in MySQL: UUIDField is a char(32), CharField a varchar.
const djangoTables = `
	CREATE TABLE auth_user (id integer AUTO_INCREMENT NOT NULL PRIMARY KEY, password varchar(128) NOT NULL,
		username varchar(150) NOT NULL UNIQUE, email varchar(254) NOT NULL, is_active bool NOT NULL);
	CREATE TABLE authtoken_token (` + "`key`" + ` varchar(40) NOT NULL PRIMARY KEY, user_id integer NOT NULL UNIQUE);
	CREATE TABLE gate_grant (id integer AUTO_INCREMENT NOT NULL PRIMARY KEY, app_id integer NOT NULL, user_id integer NOT NULL)`

// mysqlFixture makes a database of its own with the fixture in it.
func mysqlFixture(t testing.TB, options string) (dsn string, db *sql.DB) {
	t.Helper()
	dsn, db = mysqlDatabase(t, options)
	must(db.Exec(djangoTables))
	copyTable(t, db, sqliteDSN, "auth_user", "id", "password", "username", "email", "is_active")
	copyTable(t, db, sqliteDSN, "authtoken_token", "key", "user_id")
	copyTable(t, db, sqliteDSN, "gate_grant", "id", "app_id", "user_id")
	return dsn, db
}

// mysqlOptions are the databases that Django projects have: the default of today, one that takes ö for o, and what MySQL
// called utf8, which has no emoji.
var mysqlOptions = map[string]string{
	"utf8mb4": "CHARACTER SET utf8mb4", "general": "CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
	"utf8mb3": "CHARACTER SET utf8mb3", "latin1": "CHARACTER SET latin1",
}

func TestMySQL(t *testing.T) {
	for name, options := range mysqlOptions {
		t.Run(name, func(t *testing.T) {
			dsn, _ := mysqlFixture(t, options)
			t.Run("tokens", func(t *testing.T) { testDRFToken(t, dsn, loadFixtures(t, "fixtures.json")) })
			t.Run("users", func(t *testing.T) { testUsers(t, dsn, "fixtures.json") })
			t.Run("sql", func(t *testing.T) { testSQL(t, dsn) })
		})
	}
}

// TestMySQLCustomUser has the user model with a UUID, as Django stores it in MySQL, and as Django 5 does in MariaDB.
func TestMySQLCustomUser(t *testing.T) {
	for _, kind := range []string{"char(32)", "uuid"} {
		t.Run(kind, func(t *testing.T) {
			dsn, db := mysqlDatabase(t, "CHARACTER SET utf8mb4")
			must(db.Exec("CREATE TABLE accounts_user (id " + kind + " NOT NULL PRIMARY KEY, email varchar(254) NOT NULL UNIQUE, password varchar(128) NOT NULL, is_active bool NOT NULL);" +
				"CREATE TABLE authtoken_token (`key` varchar(40) NOT NULL PRIMARY KEY, user_id " + kind + " NOT NULL UNIQUE)"))
			copyTable(t, db, customDSN, "accounts_user", "id", "email", "password", "is_active")
			copyTable(t, db, customDSN, "authtoken_token", "key", "user_id")
			testCustomUser(t, dsn)

			ours := must(database.Open(t.Context(), database.Config{DSN: dsn}))
			defer ours.Close()
			name := dsn[strings.LastIndexByte(dsn, '/')+1:]
			for _, c := range []struct{ table, column, want string }{
				{"accounts_user", "id", kind},
				{name + ".accounts_user", "id", kind},
				{"accounts_user", "email", "varchar(254)"},
				{"accounts_user", "none", ""},
				{"none", "id", ""},
				{"none.accounts_user", "id", ""},
			} {
				if got, found, err := ours.ColumnType(t.Context(), c.table, c.column); err != nil || got != c.want || found != (c.want != "") {
					t.Errorf("%s of %s: got %q, %v, %v, want %q", c.column, c.table, got, found, err, c.want)
				}
			}
			model := customUser()
			model.Table = name + ".accounts_user"
			u := newTestUsers(t, UsersConfig{DSN: dsn, Model: model})
			const ann = "76eedf10-fdc5-4888-9a2a-5ca6d6f84f71"
			if got, found, err := u.ByID(t.Context(), ann); err != nil || !found || got.ID != ann {
				t.Errorf("by the name of the database: got %v, %v, %v", got, found, err)
			}
		})
	}
}

// TestMySQLIsReadOnly: even a user who may write everything does not here.
func TestMySQLIsReadOnly(t *testing.T) {
	dsn, db := mysqlFixture(t, "CHARACTER SET utf8mb4")
	ours := must(database.Open(t.Context(), database.Config{DSN: dsn}))
	defer ours.Close()
	for _, statement := range []string{
		"DELETE FROM authtoken_token", "INSERT INTO gate_grant (app_id, user_id) VALUES (9, 9)", "UPDATE auth_user SET is_active = 1",
		"DROP TABLE gate_grant", "SELECT 1 FROM auth_user; DELETE FROM auth_user",
	} {
		if found, err := ours.Query(statement).Holds(t.Context(), nil); err == nil {
			t.Errorf("%s went through, %v", statement, found)
		}
	}
	var tokens, grants int
	if err := db.QueryRow("SELECT (SELECT count(*) FROM authtoken_token), (SELECT count(*) FROM gate_grant)").Scan(&tokens, &grants); err != nil || tokens != 6 || grants != 4 {
		t.Errorf("%d tokens, %d grants, %v", tokens, grants, err)
	}
}

// TestMySQLBackslashes: whatever the server's mode, a backslash in a query's string is what the parser took it for.
func TestMySQLBackslashes(t *testing.T) {
	dsn, db := mysqlFixture(t, "CHARACTER SET utf8mb4")
	must(db.Exec("SET GLOBAL sql_mode = CONCAT(@@GLOBAL.sql_mode, ',NO_BACKSLASH_ESCAPES,ANSI_QUOTES')"))
	t.Cleanup(func() { must(db.Exec("SET GLOBAL sql_mode = DEFAULT")) })
	a := newSQL(t, SQLConfig{DSN: dsn, Query: `SELECT 1 FROM auth_user WHERE 'it\'s :id' <> '' AND id = :user`, Params: map[string]string{"user": "int"}})
	if err := authorize(t.Context(), a, &session.Identity{Subject: "1"}, must(session.ParseGroup("a")), nil); err != nil {
		t.Error(err)
	}
}

// TestMySQLBytes binds a group's name: what the collation takes for equal is another group.
func TestMySQLBytes(t *testing.T) {
	dsn, db := mysqlDatabase(t, "CHARACTER SET utf8mb4")
	must(db.Exec("CREATE TABLE member (name varchar(99) NOT NULL); INSERT INTO member VALUES ('app_a')"))
	a := newSQL(t, SQLConfig{
		DSN: dsn, Query: "SELECT 1 FROM member WHERE name = :group AND BINARY name = :group", Params: map[string]string{"group": "text"},
	})
	id := &session.Identity{Subject: "1"}
	if err := authorize(t.Context(), a, id, must(session.ParseGroup("app_a")), nil); err != nil {
		t.Error(err)
	}
	wantRefusal(t, authorize(t.Context(), a, id, must(session.ParseGroup("app_A")), nil), ErrForbidden, ReasonForbidden)
}

// TestMySQLGoesAndComes ends every connection under the verifier, and takes a table away and back.
func TestMySQLGoesAndComes(t *testing.T) {
	dsn, db := mysqlFixture(t, "CHARACTER SET utf8mb4")
	v := newDRFToken(t, DRFTokenConfig{DSN: dsn, Timeout: time.Second})
	if _, err := verify(t, v, aliceKey); err != nil {
		t.Fatal(err)
	}
	must(db.Exec("RENAME TABLE authtoken_token TO away"))
	_, err := verify(t, v, aliceKey)
	wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, aliceKey)
	must(db.Exec("RENAME TABLE away TO authtoken_token"))
	eventually(t, v, "after its table was away")

	rows := must(db.Query("SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"))
	defer rows.Close()
	var ids []int
	for rows.Next() {
		var id int
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil || len(ids) == 0 {
		t.Fatalf("%d connections, %v", len(ids), err)
	}
	for _, id := range ids {
		must(db.Exec(fmt.Sprint("KILL ", id)))
	}
	eventually(t, v, "after its connections were ended")
}

// eventually verifies alice's token until that succeeds: a broken connection is found out by the first who uses it.
func eventually(t *testing.T, v *DRFToken, when string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		id, err := verify(t, v, aliceKey)
		if err == nil {
			if id.Subject != "1" {
				t.Errorf("%s: got %+v", when, id)
			}
			return
		}
		wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, aliceKey)
		if time.Now().After(deadline) {
			t.Fatalf("%s it does not come back: %v", when, err)
		}
	}
}

// TestMySQLSlow holds a lock on the table: look-ups end by their timeout, more than there are connections, and the pool
// lives on. One whose caller leaves meanwhile keeps its connection.
func TestMySQLSlow(t *testing.T) {
	dsn, db := mysqlFixture(t, "CHARACTER SET utf8mb4")
	v := newDRFToken(t, DRFTokenConfig{DSN: dsn, Timeout: 300 * time.Millisecond, MaxConns: 2})
	patient := newDRFToken(t, DRFTokenConfig{DSN: dsn, Timeout: 30 * time.Second, MaxConns: 1})
	for _, v := range []*DRFToken{v, patient} {
		if _, err := verify(t, v, aliceKey); err != nil {
			t.Fatal(err)
		}
	}
	conn := must(db.Conn(t.Context()))
	defer conn.Close()
	must(conn.ExecContext(t.Context(), "LOCK TABLES authtoken_token WRITE"))
	start := time.Now()
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if _, err := verify(t, v, aliceKey); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error, 1)
	go func() {
		_, err := patient.Verify(ctx, Credential{Value: []byte(aliceKey)})
		answer <- err
	}()
	const waiting = "SELECT count(*) FROM information_schema.processlist WHERE db = database() AND state LIKE 'Waiting for table%'"
	for deadline, n := time.Now().Add(10*time.Second), 0; n == 0; {
		if err := db.QueryRow(waiting).Scan(&n); err != nil || time.Now().After(deadline) {
			t.Fatalf("nobody waits for the lock: %v", err)
		}
	}
	cancel()
	must(conn.ExecContext(t.Context(), "UNLOCK TABLES"))
	if err := <-answer; err != nil {
		t.Errorf("the question under way was dropped: %v", err)
	}
	eventually(t, v, "after the lock")
}

func BenchmarkDRFTokenMySQL(b *testing.B) {
	dsn, _ := mysqlFixture(b, "CHARACTER SET utf8mb4")
	benchmarkVerify(b, newDRFToken(b, DRFTokenConfig{DSN: dsn}), aliceKey, true)
}

// TestMySQLTruth: what MySQL has for yes and no, in the tables of an application.
func TestMySQLTruth(t *testing.T) {
	dsn, db := mysqlDatabase(t, "CHARACTER SET utf8mb4")
	must(db.Exec("CREATE TABLE m (id integer, bit1 bit(1), bit8 bit(8), tiny bool, price decimal(6,2), flags json);" +
		`INSERT INTO m VALUES (0, b'0', 0, false, 0.00, '{"v":false,"n":null}'), (1, b'1', 48, true, 0.01, '{"v":true,"n":1}')`))
	for _, column := range []string{"bit1", "bit8", "tiny", "price", "bit1 = 1", "JSON_EXTRACT(flags, '$.v')", "JSON_EXTRACT(flags, '$.n')", "sum(price)"} {
		wantTruth(t, dsn, "SELECT "+column+" FROM m WHERE id = :id")
	}
}
