//go:build e2e

package authn

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
	"github.com/fairlead-ws/fairlead/session"
)

func TestPostgresUsers(t *testing.T) { testUsers(t, postgresFixture(t), "fixtures_pg.json") }

// TestPostgresCustomUser has the user model with a UUID, for which PostgreSQL has a type, in a schema of its own.
func TestPostgresCustomUser(t *testing.T) {
	dsn := postgresFixture(t)
	var f customUsers
	loadJSON(t, "custom_user.json", &f)
	statements := `DROP TABLE public.authtoken_token;
		CREATE TABLE public.accounts_user (id uuid PRIMARY KEY, email varchar(254) UNIQUE, password varchar(128) NOT NULL, is_active boolean NOT NULL);
		CREATE TABLE public.authtoken_token (key varchar(40) PRIMARY KEY, user_id uuid NOT NULL UNIQUE);`
	for _, u := range f.Users {
		statements += fmt.Sprintf("INSERT INTO public.accounts_user VALUES ('%s', '%s', 'x', %v); INSERT INTO public.authtoken_token VALUES ('%s', '%s');",
			u.ID, u.Email, u.Active, u.Token, u.ID)
	}
	execute(t, dsn, statements)
	testCustomUser(t, dsn)

	execute(t, dsn, `CREATE SCHEMA "Odd Schema"; ALTER TABLE public.accounts_user SET SCHEMA "Odd Schema";
		ALTER TABLE public.authtoken_token SET SCHEMA "Odd Schema"; ALTER TABLE "Odd Schema".authtoken_token RENAME COLUMN key TO "the key"`)
	model := customUser()
	model.Table = "Odd Schema.accounts_user"
	v := newDRFToken(t, DRFTokenConfig{DSN: dsn, Model: model, Tokens: TokenModel{Table: "Odd Schema.authtoken_token", KeyColumn: "the key", UserColumn: "user_id"}})
	if id, err := verify(t, v, f.Users[0].Token); err != nil || id.Subject != f.Users[0].ID {
		t.Errorf("names that need quotes: got %+v, %v", id, err)
	}
	db := must(database.Open(t.Context(), database.Config{DSN: dsn}))
	defer db.Close()
	for _, c := range []struct{ table, column, want string }{
		{"Odd Schema.accounts_user", "id", "uuid"},
		{"Odd Schema.authtoken_token", "the key", "character varying(40)"},
		{"auth_user", "id", "integer"},
		{"auth_user", "ID", ""},
		{"auth_user", "none", ""},
		{"none", "id", ""},
		{"none.auth_user", "id", ""},
	} {
		if got, found, err := db.ColumnType(t.Context(), c.table, c.column); err != nil || got != c.want || found != (c.want != "") {
			t.Errorf("%s of %s: got %q, %v, %v, want %q", c.column, c.table, got, found, err, c.want)
		}
	}
}

// TestPostgresStorm: a node has died, and 15,000 clients come back with tokens that no cache knows. Whether they come as
// fast as handshakes are served or one by one, they cost at most 1,500 questions, everyone is who he is, and what one of
// them sends keeps nobody else out.
func TestPostgresStorm(t *testing.T) {
	const clients, most = 15_000, 1_500
	dsn := postgresFixture(t)
	execute(t, dsn, fmt.Sprintf(`
		INSERT INTO public.auth_user (id, password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
			SELECT 1000 + n, 'x', false, 'client' || n, '', '', '', false, true, now() FROM generate_series(0, %d) n;
		INSERT INTO public.authtoken_token (key, created, user_id)
			SELECT md5('client' || n) || '00000000', now(), 1000 + n FROM generate_series(0, %d) n;
		CREATE TABLE public.keys AS SELECT user_id - 1000 AS n, key FROM public.authtoken_token WHERE user_id >= 1000;
		ANALYZE`, clients-1, clients-1))
	keys := make([]string, clients)
	for n, key := range queryKeys(t, dsn) {
		keys[n] = key
	}
	storm := func(name string, come func(client func(n int))) {
		t.Run(name, func(t *testing.T) {
			r := prometheus.NewRegistry()
			v := newDRFToken(t, DRFTokenConfig{DSN: dsn, Registerer: r, Timeout: 30 * time.Second})
			start := time.Now()
			come(func(n int) {
				id, err := verify(t, v, keys[n])
				if err != nil || id.Subject != fmt.Sprint(1000+n) || id.Name != fmt.Sprint("client", n) {
					t.Errorf("client %d: got %+v, %v", n, id, err)
				}
			})
			d := time.Since(start)
			questions, asked := counter(t, r, "fairlead_auth_queries_total"), counter(t, r, "fairlead_auth_query_keys_total")
			t.Logf("%d look-ups in %v: %v questions for %v keys", clients, d, questions, asked)
			if asked != clients {
				t.Errorf("%v keys were asked for, want %d", asked, clients)
			}
			if questions > most {
				t.Errorf("%v questions in %v, want at most %d", questions, d, most)
			}
		})
	}
	storm("as handshakes are served", func(client func(n int)) {
		work := make(chan int)
		var wg sync.WaitGroup
		for range 256 { // limits.handshakes
			wg.Go(func() {
				for n := range work {
					client(n)
				}
			})
		}
		for n := range clients {
			work <- n
		}
		close(work)
		wg.Wait()
	})
	storm("one by one", func(client func(n int)) {
		random := rand.New(rand.NewPCG(1, 1))
		var wg sync.WaitGroup
		next := time.Now()
		for n := range clients {
			wg.Go(func() { client(n) })
			next = next.Add(time.Duration(random.ExpFloat64() * float64(time.Second) / 4000))
			if wait := time.Until(next); wait > 0 {
				<-time.After(wait)
			}
		}
		wg.Wait()
	})
	t.Run("keys that do not fit", func(t *testing.T) {
		execute(t, dsn, `CREATE TABLE public.uuid_token (key uuid PRIMARY KEY, user_id integer NOT NULL);
			INSERT INTO public.uuid_token SELECT md5('u' || n)::uuid, 1000 + n FROM generate_series(0, 999) n;
			TRUNCATE public.keys; INSERT INTO public.keys SELECT user_id - 1000, key::text FROM public.uuid_token`)
		v := newDRFToken(t, DRFTokenConfig{DSN: dsn, Timeout: 30 * time.Second, Tokens: TokenModel{Table: "uuid_token", KeyColumn: "key", UserColumn: "user_id"}})
		var wg sync.WaitGroup
		for n, key := range queryKeys(t, dsn) {
			wg.Go(func() {
				if id, err := verify(t, v, key); err != nil || id.Subject != fmt.Sprint(1000+n) {
					t.Errorf("client %d: got %+v, %v", n, id, err)
				}
			})
			if n%100 == 0 {
				wg.Go(func() {
					_, err := verify(t, v, fmt.Sprint("no uuid ", n))
					wantRefusal(t, err, ErrRejected, ReasonUnknownToken)
				})
			}
		}
		wg.Wait()
	})
}

// queryKeys returns the tokens that a test wrote down in the table keys.
func queryKeys(t *testing.T, dsn string) map[int]string {
	t.Helper()
	conn := connect(t, dsn)
	rows := must(conn.Query(t.Context(), "SELECT n, key FROM public.keys"))
	defer rows.Close()
	keys := map[int]string{}
	for rows.Next() {
		var n int
		var key string
		if err := rows.Scan(&n, &key); err != nil {
			t.Fatal(err)
		}
		keys[n] = strings.Clone(key)
	}
	if err := rows.Err(); err != nil || len(keys) == 0 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	return keys
}

// counter returns the value of the only child of a counter.
func counter(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	for _, f := range must(r.Gather()) {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// TestPostgresTexts binds texts to columns of other types: what does not fit is the client's fault.
func TestPostgresTexts(t *testing.T) {
	dsn := postgresFixture(t)
	a := newSQL(t, SQLConfig{DSN: dsn, Query: "SELECT 1 FROM auth_user WHERE id = :user AND username = :name AND is_active"})
	g := must(session.ParseGroup("a"))
	if err := authorize(t.Context(), a, &session.Identity{Subject: "1", Name: "alice"}, g, nil); err != nil {
		t.Error(err)
	}
	wantRefusal(t, authorize(t.Context(), a, &session.Identity{Subject: "x", Name: "alice"}, g, nil), ErrForbidden, ReasonBadParameter)
}
