package database

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// postgresBackend asks a server that may come and go.
type postgresBackend struct {
	// Fixed after openPostgres.
	pool     *pgxpool.Pool
	maxConns int32 // as the pool's Config says, of which it makes a copy each time
	timeout  time.Duration
}

// openPostgres returns the database behind a postgres:// URL. It does not connect. pool_max_conns and the like in the URL
// win over the configuration, and what the URL leaves out comes from libpq's PG… variables. Behind a pooler in transaction
// mode add default_query_exec_mode=exec.
func openPostgres(ctx context.Context, c Config) (*postgresBackend, error) {
	pc, err := parsePostgres(c.DSN)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(c.DSN, "pool_max_conns=") {
		pc.MaxConns = int32(min(c.MaxConns, 1<<20))
	}
	if pc.ConnConfig.ConnectTimeout == 0 {
		pc.ConnConfig.ConnectTimeout = c.Timeout
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return &postgresBackend{pool: pool, maxConns: pc.MaxConns, timeout: c.Timeout}, nil
}

// parsePostgres reads a DSN and names the program to the server.
func parsePostgres(dsn string) (*pgxpool.Config, error) {
	if err := checkEscapes(dsn); err != nil {
		return nil, err
	}
	pc, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, dsnError(dsn, err)
	}
	if pc.ConnConfig.RuntimeParams["application_name"] == "" {
		pc.ConnConfig.RuntimeParams["application_name"] = "fairlead"
	}
	return pc, nil
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
		err = Scrub(err, secret)
	}
	return fmt.Errorf("the dsn: %w", err)
}

// rows waits for a connection as long as the caller does, but once it has one the question is asked to its end or to the
// timeout: pgx closes a connection whose context ends, and clients that leave in a storm must not cost the others theirs.
// Every argument is a text, or a list of texts, whose type the server infers, so that what does not fit is its verdict and
// no fault of ours.
// A server that was started again has left each connection of the pool dead, which is seen when it is used: the question is
// asked on the next one then, unless rows of an answer were there already.
func (d *postgresBackend) rows(ctx context.Context, q *Query, args []any, each func(row) (bool, error)) error {
	deadline := time.Now().Add(d.timeout)
	wait, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	ask, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	for left := d.maxConns; ; left-- {
		dead, err := d.once(wait, ask, q, args, each)
		if err == nil || !dead || left <= 0 || wait.Err() != nil {
			return err
		}
	}
}

// once asks on one connection. dead is true where that was at its end before it had an answer.
func (d *postgresBackend) once(wait, ask context.Context, q *Query, args []any, each func(row) (bool, error)) (dead bool, err error) {
	conn, err := d.pool.Acquire(wait)
	if err != nil {
		return false, fmt.Errorf("postgres: no connection: %w", err)
	}
	defer conn.Release()
	rows, err := conn.Query(ask, q.text, args...)
	if err != nil {
		return conn.Conn().IsClosed(), d.failed(err)
	}
	defer rows.Close()
	answered := false
	for more := true; more && rows.Next(); {
		answered = true
		if more, err = each(pgxRow{rows}); err != nil {
			return false, d.failed(err)
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return !answered && conn.Conn().IsClosed(), d.failed(err)
	}
	return false, nil
}

// pgxRow is the row that is read now.
type pgxRow struct{ pgx.Rows }

// First implements row.
func (r pgxRow) First() (any, error) {
	dest := make([]any, len(r.FieldDescriptions())) // pgx leaves out what is nil
	if len(dest) == 0 {                             // SELECT FROM t has no column
		return true, nil
	}
	var first any
	dest[0] = &first
	err := r.Scan(dest...)
	return first, err
}

// failed marks the errors of class 22, data exception.
func (d *postgresBackend) failed(err error) error {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok && strings.HasPrefix(pe.Code, "22") {
		return fmt.Errorf("postgres: %w (SQLSTATE %s)", ErrValue, pe.Code)
	}
	return fmt.Errorf("postgres: %w", err)
}

func (d *postgresBackend) close() error {
	d.pool.Close()
	return nil
}
