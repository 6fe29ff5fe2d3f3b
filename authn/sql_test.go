package authn

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
	"github.com/fairlead-ws/fairlead/session"
)

func newSQL(t testing.TB, c SQLConfig) *SQL {
	t.Helper()
	if strings.HasPrefix(c.DSN, "mysql:") { // where nothing goes without saying
		q := must(parseQuery(c.Query, database.MySQL))
		params := map[string]string{}
		for _, name := range q.names {
			params[name] = orDefault(c.Params[name], "text")
		}
		c.Params = params
	}
	a, err := NewSQL(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// groupParams are the parameters that a route with {group} in its path has for a group.
func groupParams(g session.Group) Params {
	p := Params{{"group", g.String()}}
	if category, id, ok := g.Split(); ok {
		p = append(p, Param{"group.category", category}, Param{"group.id", id})
	}
	return p
}

const gateQuery = "SELECT 1 FROM gate_grant WHERE user_id = :user AND app_id = :id"

// testSQL is what every database must answer, over the table gate_grant of the fixtures. The end-to-end tests run it
// against PostgreSQL.
func testSQL(t *testing.T, dsn string) {
	ints := map[string]string{"user": "int", "id": "int"}
	gate := newSQL(t, SQLConfig{DSN: dsn, Query: gateQuery, Params: ints})
	for _, c := range []struct {
		user, group string
		reason      Reason
	}{
		{"1", "app_1234", ""},
		{"1", "app_1", ""},
		{"6", "app_1234", ""},
		{"2", "app_1234", ""}, // whether bob is active is the verifier's business
		{"1", "app_01234", ""},
		{"1", "app_" + strings.Repeat("0", 91) + "1234", ""},
		{"1", "x.y_1234", ""},
		{"3", "app_1234", ReasonForbidden},
		{"6", "app_1", ReasonForbidden},
		{"7", "app_1234", ReasonForbidden}, // a superuser needs a row, too
		{"1", "app_99999999999", ReasonForbidden},
		{"1", "app_-1234", ReasonForbidden},
		{"99999999999", "app_1234", ReasonForbidden},
		{"1", "app_99999999999999999999", ReasonBadParameter},
		{"1", "app_x", ReasonBadParameter},
		{"1", "app_1.0", ReasonBadParameter},
		{"1", "app_0x1", ReasonBadParameter},
		{"1", "app_1-1", ReasonBadParameter},
		{"1", "app_--1", ReasonBadParameter},
		{"1", "app", ReasonBadParameter},
		{"1", "_1234", ReasonBadParameter},
		{"alice", "app_1234", ReasonBadParameter},
		{"", "app_1234", ReasonBadParameter},
		{"+1", "app_1234", ReasonBadParameter},
		{"1 OR 1=1", "app_1234", ReasonBadParameter},
	} {
		g := must(session.ParseGroup(c.group))
		err := authorize(t.Context(), gate, &session.Identity{Subject: c.user}, g, groupParams(g))
		switch {
		case c.reason == "":
			if err != nil {
				t.Errorf("user %s, %s: %v", c.user, c.group, err)
			}
		case c.reason == ReasonForbidden && err != nil && strings.Contains(c.user+c.group, "99999999999"):
			// Beyond the column's type: PostgreSQL calls it an error of the value, SQLite finds no row.
			if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(e.Kind, ErrForbidden) || e.Reason != ReasonForbidden && e.Reason != ReasonBadParameter {
				t.Errorf("user %s, %s: %v", c.user, c.group, err)
			}
		default:
			wantRefusal(t, err, ErrForbidden, c.reason)
		}
	}

	byName := "SELECT 1 FROM auth_user WHERE username = :name"
	if strings.HasPrefix(dsn, "mysql:") { // whose collations take a for A
		byName += " AND BINARY CONVERT(username USING utf8mb4) = :name"
	}
	app := must(session.ParseGroup("app_1234"))
	alice, carol := &session.Identity{Subject: "1", Name: "alice"}, &session.Identity{Subject: "3", Name: "carol"}
	for _, c := range []struct {
		name   string
		config SQLConfig
		params Params
		id     *session.Identity
		reason Reason
	}{
		{"every name", SQLConfig{Query: `SELECT u.id FROM auth_user u JOIN gate_grant g ON g.user_id = u.id WHERE u.id = :user
			AND u.username = :name AND :group = 'app_1234' AND :category = 'app' AND g.app_id = :id LIMIT 1`, Params: ints}, groupParams(app), alice, ""},
		{"another name", SQLConfig{Query: byName}, nil, &session.Identity{Subject: "1", Name: "Alice"}, ReasonForbidden},
		{"a name that is SQL", SQLConfig{Query: byName}, nil, &session.Identity{Subject: "1", Name: "' OR '1'='1"}, ReasonForbidden},
		{"UTF-8", SQLConfig{Query: byName}, nil, &session.Identity{Subject: "6", Name: "zoë"}, ""},
		{"a NUL", SQLConfig{Query: byName}, nil, &session.Identity{Subject: "6", Name: "z\x00"}, ReasonBadParameter},
		{"no UTF-8", SQLConfig{Query: byName}, nil, &session.Identity{Subject: "6", Name: "z\xff"}, ReasonBadParameter},
		{"NULL", SQLConfig{Query: "SELECT NULL FROM gate_grant"}, nil, alice, ReasonForbidden},
		{"zero", SQLConfig{Query: "SELECT 0 FROM gate_grant WHERE app_id = :id", Params: map[string]string{"id": "int"}}, groupParams(app), alice, ReasonForbidden},
		{"zero, as a fraction", SQLConfig{Query: "SELECT 0.00"}, nil, alice, ReasonForbidden},
		{"a fraction", SQLConfig{Query: "SELECT 0.01"}, nil, alice, ""},
		{"a text", SQLConfig{Query: "SELECT username, id FROM auth_user WHERE username = 'alice'"}, nil, alice, ""},
		{"an empty text", SQLConfig{Query: "SELECT ''"}, nil, alice, ""},
		{"a date", SQLConfig{Query: "SELECT CURRENT_TIMESTAMP"}, nil, alice, ""},
		{"what is so", SQLConfig{Query: "SELECT is_active FROM auth_user WHERE username = 'alice'"}, nil, alice, ""},
		{"what is not so", SQLConfig{Query: "SELECT is_active FROM auth_user WHERE username = 'bob'"}, nil, alice, ReasonForbidden},
		{"there is one", SQLConfig{Query: "SELECT EXISTS(" + gateQuery + ")", Params: ints}, groupParams(app), alice, ""},
		{"there is none", SQLConfig{Query: "SELECT EXISTS(" + gateQuery + ")", Params: ints}, groupParams(app), carol, ReasonForbidden},
		{"there is not none", SQLConfig{Query: "SELECT NOT NOT EXISTS(" + gateQuery + ")", Params: ints}, groupParams(app), carol, ReasonForbidden},
		{"it is in a list", SQLConfig{Query: "SELECT :user IN (SELECT user_id FROM gate_grant WHERE app_id = :id)", Params: ints}, groupParams(app), alice, ""},
		{"it is in no list", SQLConfig{Query: "SELECT :user IN (SELECT user_id FROM gate_grant WHERE app_id = :id)", Params: ints}, groupParams(app), carol, ReasonForbidden},
		{"so many", SQLConfig{Query: strings.Replace(gateQuery, "1", "count(*)", 1), Params: ints}, groupParams(app), alice, ""},
		{"so many, and others", SQLConfig{Query: strings.Replace(gateQuery, "1", "count(*), max(app_id)", 1), Params: ints}, groupParams(app), carol, ReasonForbidden},
		{"in sum", SQLConfig{Query: strings.Replace(gateQuery, "1", "sum(app_id) - 1234", 1), Params: ints}, groupParams(app), alice, ReasonForbidden},
		{"more than none", SQLConfig{Query: "SELECT (" + strings.Replace(gateQuery, "1", "count(*)", 1) + ") > 0", Params: ints}, groupParams(app), carol, ReasonForbidden},
		{"by WITH", SQLConfig{Query: "WITH x AS (" + strings.Replace(gateQuery, "1", "count(*) AS n", 1) + ") SELECT n FROM x", Params: ints}, groupParams(app), carol, ReasonForbidden},
		{"no row", SQLConfig{Query: "SELECT 1 FROM gate_grant WHERE 1 = 0"}, nil, alice, ReasonForbidden},
		{"the group's own parts", SQLConfig{Query: gateQuery + " AND :category = 'app'", Params: ints}, nil, alice, ""},
		{"the path's parameter comes first", SQLConfig{Query: gateQuery, Params: ints}, Params{{"group.id", "1"}, {"id", "5"}}, alice, ReasonForbidden},
		{"a path parameter", SQLConfig{Query: "SELECT 1 FROM gate_grant WHERE app_id = :tenant", Params: map[string]string{"tenant": "int"}, PathParams: []string{"tenant"}}, Params{{"tenant", "1234"}}, alice, ""},
		{"a path parameter that is not there", SQLConfig{Query: "SELECT 1 WHERE :tenant = 'x'", PathParams: []string{"tenant"}}, nil, alice, ReasonBadParameter},
		{"anonymous", SQLConfig{Query: gateQuery}, groupParams(app), session.Anonymous(), ReasonForbidden},
		{"anonymous by name", SQLConfig{Query: "SELECT 1 WHERE :name = ''"}, nil, session.Anonymous(), ReasonForbidden},
		{"anonymous where nobody asks", SQLConfig{Query: "SELECT 1 FROM gate_grant WHERE app_id = :id", Params: map[string]string{"id": "int"}}, groupParams(app), session.Anonymous(), ""},
		{"the same value twice, as two types", SQLConfig{Query: "SELECT 1 FROM gate_grant WHERE app_id = :id AND :id = '1234'"}, groupParams(app), alice, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.config.DSN = dsn
			err := authorize(t.Context(), newSQL(t, c.config), c.id, app, c.params)
			if c.reason != "" {
				wantRefusal(t, err, ErrForbidden, c.reason)
			} else if err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("a mistake in the query is no refusal", func(t *testing.T) {
		a := newSQL(t, SQLConfig{Name: "member", DSN: dsn, Query: "SELECT 1 FROM no_such_table"})
		err := authorize(t.Context(), a, alice, app, nil)
		wantRefusal(t, err, ErrUnavailable, ReasonAuthorizerUnavailable)
		if !strings.Contains(err.Error(), "member") || !strings.Contains(err.Error(), "no_such_table") {
			t.Errorf("the error does not help: %v", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		a := newSQL(t, SQLConfig{DSN: dsn, Query: "SELECT 1"})
		for range 2 {
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
		}
		wantRefusal(t, authorize(t.Context(), a, alice, app, nil), ErrUnavailable, ReasonAuthorizerUnavailable)
	})
}

func TestSQLSQLite(t *testing.T) { testSQL(t, sqliteDSN) }

// TestSQLAsksOnlyWhatFits uses a server that is not there: a refusal proves that nobody was asked.
func TestSQLAsksOnlyWhatFits(t *testing.T) {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	dsn := "postgres://u:s3cr3t-pw@" + l.Addr().String() + "/d?sslmode=disable"
	l.Close()
	a := newSQL(t, SQLConfig{DSN: dsn, Query: gateQuery, Params: map[string]string{"user": "uuid", "id": "int"}, Timeout: time.Second})
	g := must(session.ParseGroup("app_1"))
	const uuid = "76eedf10-fdc5-4888-9a2a-5ca6d6f84f71"
	for _, c := range []struct {
		user, id string
		reason   Reason
		kind     error
	}{
		{uuid, "1", ReasonAuthorizerUnavailable, ErrUnavailable},
		{strings.ToUpper(uuid), "1", ReasonAuthorizerUnavailable, ErrUnavailable},
		{strings.ReplaceAll(uuid, "-", ""), "1", ReasonAuthorizerUnavailable, ErrUnavailable},
		{uuid, "x", ReasonBadParameter, ErrForbidden},
		{uuid[1:], "1", ReasonBadParameter, ErrForbidden},
		{"{" + uuid + "}", "1", ReasonBadParameter, ErrForbidden},
		{"g" + uuid[1:], "1", ReasonBadParameter, ErrForbidden},
		{"-76eedf1" + uuid[8:], "1", ReasonBadParameter, ErrForbidden},
		{strings.Repeat("-", 36), "1", ReasonBadParameter, ErrForbidden},
	} {
		err := authorize(t.Context(), a, &session.Identity{Subject: c.user}, g, Params{{"group.id", c.id}})
		wantRefusal(t, err, c.kind, c.reason, "s3cr3t-pw")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := authorize(ctx, a, &session.Identity{Subject: uuid}, g, Params{{"group.id", "1"}})
	wantRefusal(t, err, ErrUnavailable, ReasonAuthorizerUnavailable, "s3cr3t-pw")
}

// TestSQLUUIDSQLite looks for a UUID as Django stores it where the database has no type for it.
func TestSQLUUIDSQLite(t *testing.T) {
	path := copyDatabase(t, "db")
	writeDatabase(t, path, `CREATE TABLE member (user_id char(32)); INSERT INTO member VALUES ('76eedf10fdc548889a2a5ca6d6f84f71')`)
	a := newSQL(t, SQLConfig{DSN: "sqlite:" + path, Query: "SELECT 1 FROM member WHERE user_id = :user", Params: map[string]string{"user": "uuid"}})
	g := must(session.ParseGroup("a"))
	if err := authorize(t.Context(), a, &session.Identity{Subject: "76EEDF10-fdc5-4888-9a2a-5ca6d6f84f71"}, g, nil); err != nil {
		t.Error(err)
	}
	err := authorize(t.Context(), a, &session.Identity{Subject: "76eedf10-fdc5-4888-9a2a-5ca6d6f84f72"}, g, nil)
	wantRefusal(t, err, ErrForbidden, ReasonForbidden)
}

func TestNewSQLRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		config SQLConfig
		want   string
	}{
		{"no dsn", SQLConfig{Query: gateQuery}, "dsn"},
		{"no query", SQLConfig{DSN: sqliteDSN}, "SELECT or WITH"},
		{"unknown placeholder", SQLConfig{DSN: sqliteDSN, Query: "SELECT 1 WHERE :usr = 1"}, ":usr"},
		{"unknown placeholder beside path parameters", SQLConfig{DSN: sqliteDSN, Query: "SELECT 1 WHERE :x", PathParams: []string{"tenant"}}, ":tenant"},
		{"unused type", SQLConfig{DSN: sqliteDSN, Query: "SELECT 1 WHERE :user", Params: map[string]string{"id": "int"}}, ":id"},
		{"MySQL without types", SQLConfig{DSN: "mysql://u:s3cr3t-pw@h/d", Query: gateQuery, Params: map[string]string{"user": "int"}}, "params = { id ="},
		{"unknown type", SQLConfig{DSN: sqliteDSN, Query: "SELECT 1 WHERE :user", Params: map[string]string{"user": "bigint"}}, `"bigint"`},
		{"a hidden name", SQLConfig{DSN: sqliteDSN, Query: "SELECT 1 WHERE :user", PathParams: []string{"user"}}, "hide"},
		{"no file", SQLConfig{DSN: "sqlite:testdata/none", Query: gateQuery}, "none"},
		{"bad dsn", SQLConfig{DSN: "postgres://u:s3cr3t-pw@h:x/d", Query: gateQuery}, "dsn"},
	} {
		c.config.Name = "member"
		a, err := NewSQL(c.config)
		if err == nil {
			a.Close()
			t.Errorf("%s: no error", c.name)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "member") {
			t.Errorf("%s: the error %q does not say %q", c.name, err, c.want)
		}
		wantNoSecret(t, err, "s3cr3t-pw")
	}
}

func BenchmarkSQLSQLite(b *testing.B) {
	a := newSQL(b, SQLConfig{DSN: sqliteDSN, Query: gateQuery, Params: map[string]string{"user": "int", "id": "int"}})
	ctx, id, g := b.Context(), &session.Identity{Subject: "1"}, must(session.ParseGroup("app_1234"))
	p := groupParams(g)
	b.ReportAllocs()
	for b.Loop() {
		if err := authorize(ctx, a, id, g, p); err != nil {
			b.Fatal(err)
		}
	}
}

// wantTruth fails unless a query allows for the id 1 and not for the id 0.
func wantTruth(t *testing.T, dsn, query string) {
	t.Helper()
	a := newSQL(t, SQLConfig{DSN: dsn, Query: query, Params: map[string]string{"id": "int"}})
	for id, allowed := range map[string]bool{"0": false, "1": true} {
		err := authorize(t.Context(), a, &session.Identity{Subject: "1"}, must(session.ParseGroup("m_"+id)), Params{{"id", id}})
		if allowed && err != nil || !allowed && !errors.Is(err, ErrForbidden) {
			t.Errorf("%s, where it is %v: %v", query, allowed, err)
		}
	}
}

// TestSQLiteTruth: what SQLite has for yes and no, which is what was written.
func TestSQLiteTruth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.sqlite3")
	writeDatabase(t, path, `CREATE TABLE m (id integer, "on" bool, price decimal, flags text);
		INSERT INTO m VALUES (0, false, 0.0, '{"v":false,"n":null}'), (1, true, 0.01, '{"v":true,"n":1}')`)
	for _, column := range []string{`"on"`, "price", "flags -> '$.v'", "flags ->> '$.v'", "flags -> '$.n'", "sum(price)", "total(price)"} {
		wantTruth(t, "sqlite:"+path, "SELECT "+column+" FROM m WHERE id = :id")
	}
}
