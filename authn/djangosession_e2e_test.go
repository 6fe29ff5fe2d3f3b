//go:build e2e

package authn

import (
	"strings"
	"sync"
	"testing"
)

func TestDjangoSessionPostgres(t *testing.T) {
	dsn, f := postgresFixture(t), loadDjango(t, "fixtures_pg.json")
	testDjangoSession(t, dsn, f)
	sep := "?"
	if strings.Contains(dsn, "?") {
		sep = "&"
	}
	for _, mode := range []string{"exec", "simple_protocol"} { // as a pooler needs
		t.Run(mode, func(t *testing.T) { testDjangoSession(t, dsn+sep+"default_query_exec_mode="+mode, f) })
	}
	// Many at once are asked for together, and each still gets its own answer.
	v := newDjangoSession(t, DjangoSessionConfig{DSN: dsn})
	var wg sync.WaitGroup
	for range 40 {
		for name, s := range f.Table {
			user := s.Expect
			if user != nil && (*user == "error" || sessionReasons[name] == ReasonBadSignature) {
				user = nil
			}
			wg.Go(func() { wantUser(t, v, s.SessionID, user, sessionReasons[name]) })
		}
	}
	wg.Wait()
	// What PostgreSQL alone can hold.
	execute(t, dsn, `UPDATE django_session SET expire_date = 'infinity' WHERE session_key = '`+f.Table["alice_login"].SessionID+`'`)
	if id, err := verify(t, v, f.Table["alice_login"].SessionID); err != nil || !id.Expires.IsZero() {
		t.Errorf("a session that never ends: %+v, %v", id, err)
	}
	execute(t, dsn, `UPDATE django_session SET expire_date = '-infinity' WHERE session_key = '`+f.Table["alice_login"].SessionID+`'`)
	wantUser(t, v, f.Table["alice_login"].SessionID, nil, ReasonExpired)
	execute(t, dsn, `UPDATE django_session SET expire_date = '2026-11-24 01:00:00.25+01' WHERE session_key = '`+f.Table["alice_login"].SessionID+`'`)
	if id, err := verify(t, v, f.Table["alice_login"].SessionID); err != nil || id.Expires.Sub(fixtureNow()).Milliseconds() != 250 {
		t.Errorf("a time with a zone: %+v, %v", id, err)
	}
}

func TestDjangoSessionMySQL(t *testing.T) {
	for name, options := range mysqlOptions {
		t.Run(name, func(t *testing.T) {
			dsn, db := mysqlFixture(t, options)
			must(db.Exec(`CREATE TABLE django_session (session_key varchar(40) NOT NULL PRIMARY KEY, session_data longtext NOT NULL, expire_date datetime(6) NOT NULL)`))
			copyTable(t, db, sqliteDSN, "django_session", "session_key", "session_data", "expire_date")
			testDjangoSession(t, dsn, loadDjango(t, "fixtures.json"))
		})
	}
}
