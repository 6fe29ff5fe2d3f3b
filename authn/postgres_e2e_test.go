//go:build e2e

package authn

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-ws/fairlead/session"
)

// postgresEnv names the environment variable that holds the URL of a server whose role may create databases.
const postgresEnv = "FAIRLEAD_TEST_POSTGRES"

// postgresFixture makes a database of its own with the fixture in it, and returns its DSN.
func postgresFixture(t testing.TB) string {
	t.Helper()
	server := os.Getenv(postgresEnv)
	if server == "" {
		t.Fatalf("set %s to postgres://USER@HOST:PORT/postgres; the role must be allowed to create databases", postgresEnv)
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("the URL of the server cannot be read")
	}
	name := fmt.Sprintf("fairlead_authn_%d_%d", os.Getpid(), time.Now().UnixNano())
	execute(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { execute(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	u.Path = "/" + name
	dump, err := os.ReadFile("testdata/django_pg.sql")
	if err != nil {
		t.Fatal(err)
	}
	execute(t, u.String(), string(dump))
	return u.String()
}

// connect returns a connection of the test's own.
func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn := must(pgx.Connect(context.Background(), dsn))
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// execute runs statements on a connection of their own.
func execute(t testing.TB, dsn, statements string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.PgConn().Exec(ctx, statements).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

func TestDRFTokenPostgres(t *testing.T) {
	testDRFToken(t, postgresFixture(t), loadFixtures(t, "fixtures_pg.json"))
}

// TestPostgresTruth: what PostgreSQL has for yes and no. A column that is not the first is not looked at, whatever is in it.
func TestPostgresTruth(t *testing.T) {
	dsn := postgresFixture(t)
	execute(t, dsn, `CREATE TABLE public.m (id integer, "on" bool, bits bit(8), price numeric(6,2), flags jsonb, odd jsonb);
		INSERT INTO public.m VALUES (0, false, b'00000000', 0.00, '{"v":false,"n":null}', '{"n":1e400}'), (1, true, b'00110000', 0.01, '{"v":true,"n":1}', '{"n":1e400}')`)
	for _, column := range []string{`"on"`, "price", "flags -> 'v'", "flags -> 'n'", "sum(price)", "avg(price)", `"on", odd`, "bits = b'00110000'"} {
		wantTruth(t, dsn, "SELECT "+column+" FROM public.m WHERE id = :id"+map[bool]string{true: " GROUP BY id"}[strings.Contains(column, "(price")])
	}
}

func TestSQLPostgres(t *testing.T) { testSQL(t, postgresFixture(t)) }

// TestPostgresPoolers runs the same with the ways of asking that a pooler needs.
func TestPostgresPoolers(t *testing.T) {
	dsn := postgresFixture(t)
	sep := "?"
	if strings.Contains(dsn, "?") {
		sep = "&"
	}
	for _, mode := range []string{"exec", "describe_exec", "cache_describe", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			dsn := dsn + sep + "default_query_exec_mode=" + mode
			testDRFToken(t, dsn, loadFixtures(t, "fixtures_pg.json"))
			testSQL(t, dsn)
		})
	}
}

// TestPostgresUUID binds a UUID to a column of that type, and what is none to nothing.
func TestPostgresUUID(t *testing.T) {
	dsn := postgresFixture(t)
	execute(t, dsn, `CREATE TABLE public.member (user_id uuid); INSERT INTO public.member VALUES ('76eedf10-fdc5-4888-9a2a-5ca6d6f84f71')`)
	g := must(session.ParseGroup("a"))
	for kind, odd := range map[string]Reason{"uuid": ReasonBadParameter, "text": ReasonBadParameter} {
		a := newSQL(t, SQLConfig{DSN: dsn, Query: "SELECT 1 FROM member WHERE user_id = :user", Params: map[string]string{"user": kind}})
		for subject, want := range map[string]Reason{
			"76EEDF10-fdc5-4888-9a2a-5ca6d6f84f71": "",
			"76eedf10-fdc5-4888-9a2a-5ca6d6f84f72": ReasonForbidden,
			"alice":                                odd, // as a text the server itself refuses it
		} {
			err := authorize(t.Context(), a, &session.Identity{Subject: subject}, g, nil)
			if want == "" {
				if err != nil {
					t.Errorf("%s, %s: %v", kind, subject, err)
				}
				continue
			}
			wantRefusal(t, err, ErrForbidden, want)
		}
	}
}

// TestPostgresGoesAndComes breaks every connection under the verifier, and takes the database away and back.
func TestPostgresGoesAndComes(t *testing.T) {
	dsn := postgresFixture(t)
	v := newDRFToken(t, DRFTokenConfig{DSN: dsn, Timeout: time.Second})
	if _, err := verify(t, v, aliceKey); err != nil {
		t.Fatal(err)
	}
	execute(t, dsn, "ALTER TABLE public.authtoken_token RENAME TO away")
	_, err := verify(t, v, aliceKey)
	wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, aliceKey)
	execute(t, dsn, "ALTER TABLE public.away RENAME TO authtoken_token")
	execute(t, dsn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	for deadline := time.Now().Add(10 * time.Second); ; {
		id, err := verify(t, v, aliceKey)
		if err == nil {
			if id.Subject != "1" {
				t.Errorf("got %+v", id)
			}
			break
		}
		wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, aliceKey)
		if time.Now().After(deadline) {
			t.Fatalf("it does not come back: %v", err)
		}
	}
}

// TestPostgresSlow holds a lock on the table: the look-up ends by its timeout, and the pool lives on.
// TestPostgresDeadConnections: a server that was started again has ended all connections, and nobody is told to come later
// for that.
func TestPostgresDeadConnections(t *testing.T) {
	dsn := postgresFixture(t)
	v := must(NewDRFToken(t.Context(), DRFTokenConfig{DSN: dsn}))
	defer v.Close()
	for round := range 3 {
		var together sync.WaitGroup
		for i := range 50 { // several connections
			together.Go(func() {
				_, err := v.Verify(t.Context(), Credential{Value: fmt.Appendf(nil, "%040d", i+1)})
				if !errors.Is(err, ErrRejected) {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		together.Wait()
		execute(t, dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	}
}

func TestPostgresSlow(t *testing.T) {
	dsn := postgresFixture(t)
	v := newDRFToken(t, DRFTokenConfig{DSN: dsn, Timeout: 200 * time.Millisecond, MaxConns: 2})
	ctx := t.Context()
	conn := must(pgx.Connect(ctx, dsn))
	defer conn.Close(context.Background())
	must(conn.PgConn().Exec(ctx, "BEGIN; LOCK TABLE public.authtoken_token IN ACCESS EXCLUSIVE MODE").ReadAll())
	start := time.Now()
	var wg sync.WaitGroup
	for range 6 { // more than there are connections
		wg.Go(func() {
			if _, err := verify(t, v, aliceKey); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
	must(conn.PgConn().Exec(ctx, "ROLLBACK").ReadAll())
	patient := newDRFToken(t, DRFTokenConfig{DSN: dsn, Timeout: 30 * time.Second})
	if _, err := verify(t, patient, aliceKey); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, err := verify(t, v, aliceKey)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the pool does not recover: %v", err)
		}
	}
}

// TestPostgresClientThatLeaves cancels a caller while the server works for it: the pool keeps the connection.
func TestPostgresClientThatLeaves(t *testing.T) {
	dsn := postgresFixture(t)
	v := newDRFToken(t, DRFTokenConfig{DSN: dsn, MaxConns: 1, Timeout: 30 * time.Second})
	if _, err := verify(t, v, aliceKey); err != nil {
		t.Fatal(err)
	}
	lock := must(pgx.Connect(t.Context(), dsn))
	defer lock.Close(context.Background())
	connection := func() (pid int) {
		const ours = "SELECT max(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'fairlead'"
		if err := lock.QueryRow(t.Context(), ours).Scan(&pid); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	before := connection()
	must(lock.PgConn().Exec(t.Context(), "BEGIN; LOCK TABLE public.authtoken_token IN ACCESS EXCLUSIVE MODE").ReadAll())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		_, err := v.Verify(ctx, Credential{Value: []byte(aliceKey)})
		answer <- err
	}()
	const waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
	for deadline, n := time.Now().Add(10*time.Second), 0; n == 0; {
		if err := lock.QueryRow(t.Context(), waiting).Scan(&n); err != nil || time.Now().After(deadline) {
			t.Fatalf("nobody waits for the lock: %v", err)
		}
	}
	cancel()
	must(lock.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll())
	if err := <-answer; err != nil {
		t.Errorf("the question under way was dropped: %v", err)
	}
	if _, err := verify(t, v, aliceKey); err != nil {
		t.Error(err)
	}
	if after := connection(); after != before {
		t.Errorf("the connection was made anew: process %d became %d", before, after)
	}
}

func BenchmarkDRFTokenPostgres(b *testing.B) {
	benchmarkVerify(b, newDRFToken(b, DRFTokenConfig{DSN: postgresFixture(b)}), aliceKey, true)
}
