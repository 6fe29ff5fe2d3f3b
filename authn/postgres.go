package authn

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// errValue marks a question that the server understood and could not ask with these values: a number beyond the
// column's type, a text that is none of its kind.
var errValue = errors.New("the value does not fit the column")

// postgresDatabase asks a server that may come and go.
type postgresDatabase struct {
	// Fixed after openPostgres.
	pool    *pgxpool.Pool
	query   string
	timeout time.Duration
}

// openPostgres returns the database behind a postgres:// URL. It does not connect. pool_max_conns and the like in the URL
// win over the configuration, and what the URL leaves out comes from libpq's PG… variables. Behind a pooler in transaction
// mode add default_query_exec_mode=exec.
func openPostgres(ctx context.Context, c databaseConfig, query string) (*postgresDatabase, error) {
	pc, err := pgxpool.ParseConfig(c.dsn)
	if err != nil {
		return nil, dsnError(c.dsn, err)
	}
	if !strings.Contains(c.dsn, "pool_max_conns=") {
		pc.MaxConns = DefaultMaxConns
		if c.maxConns > 0 {
			pc.MaxConns = int32(min(c.maxConns, 1<<20))
		}
	}
	if pc.ConnConfig.ConnectTimeout == 0 {
		pc.ConnConfig.ConnectTimeout = c.timeout
	}
	if pc.ConnConfig.RuntimeParams["application_name"] == "" {
		pc.ConnConfig.RuntimeParams["application_name"] = "fairlead"
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return &postgresDatabase{pool: pool, query: query, timeout: c.timeout}, nil
}

// dsnError says what is wrong with a DSN and leaves the passwords out. Of one that is no URL it says nothing more, since
// where its password begins cannot be known.
func dsnError(dsn string, err error) error {
	u, urlErr := url.Parse(dsn)
	if urlErr != nil {
		return errors.New("the dsn is no URL: want postgres://USER@HOST:PORT/DATABASE, with % and two digits for what is special in a password")
	}
	what := err.Error() // "cannot parse `URL`: what"
	err = errors.New(strings.TrimPrefix(what[strings.LastIndexByte(what, '`')+1:], ": "))
	password, _ := u.User.Password()
	for _, secret := range []string{password, u.Query().Get("password"), u.Query().Get("sslpassword")} {
		err = scrub(err, secret)
	}
	return fmt.Errorf("the dsn: %w", err)
}

// first waits for a connection as long as the caller does, but once it has one the question is asked to its end or to the
// timeout: pgx closes a connection whose context ends, and clients that leave in a storm must not cost the others theirs.
// Every argument is a text, whose type the server infers, so that what does not fit is its verdict and no fault of ours.
func (d *postgresDatabase) first(ctx context.Context, args []any, dest ...any) (found bool, err error) {
	deadline := time.Now().Add(d.timeout)
	wait, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := d.pool.Acquire(wait)
	if err != nil {
		return false, fmt.Errorf("postgres: no connection: %w", err)
	}
	defer conn.Release()
	ask, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	rows, err := conn.Query(ask, d.query, args...)
	if err != nil {
		return false, d.failed(err)
	}
	defer rows.Close()
	if found = rows.Next(); found && len(dest) > 0 {
		if err := rows.Scan(dest...); err != nil {
			return false, d.failed(err)
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return false, d.failed(err)
	}
	return found, nil
}

// failed marks the errors of class 22, data exception.
func (d *postgresDatabase) failed(err error) error {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok && strings.HasPrefix(pe.Code, "22") {
		return fmt.Errorf("postgres: %w (SQLSTATE %s)", errValue, pe.Code)
	}
	return fmt.Errorf("postgres: %w", err)
}

func (d *postgresDatabase) close() error {
	d.pool.Close()
	return nil
}
