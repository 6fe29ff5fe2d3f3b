package database

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// DefaultTimeout is how long a question may take, waiting for a connection included.
	DefaultTimeout = 2 * time.Second
	// DefaultMaxConns is how many connections a pool holds at most. Django, and the other nodes, want some of the server's
	// as well.
	DefaultMaxConns = 8
)

// ErrValue marks a question that the server understood and could not ask with these values: a number beyond the column's
// type, a text that is none of its kind.
var ErrValue = errors.New("the value does not fit the column")

// Config says which database, and how patiently.
type Config struct {
	DSN      string        // sqlite:PATH, postgres://… or mysql://…
	Timeout  time.Duration // 0: DefaultTimeout
	MaxConns int           // 0: DefaultMaxConns
	// Observe, if it is not nil, is told of each question: for how many keys it is. It is called by many goroutines.
	Observe func(keys int)
}

// DB is a database. Its methods may be called by many goroutines.
type DB struct {
	dialect Dialect
	backend backend
	observe func(keys int)
}

// backend is what the kinds of databases do differently.
type backend interface {
	// rows asks q and calls each for every row, with what scans it. It blocks until ctx ends or the timeout has passed.
	rows(ctx context.Context, q *Query, args []any, each func(scan func(dest ...any) error) (more bool, err error)) error
	close() error
}

// Open checks the configuration and returns the database, which connects when it is first asked: it does not fail because
// a server is down. The file of SQLite must be there, since unlike a server it does not come back. ctx bounds the
// construction only.
func Open(ctx context.Context, c Config) (*DB, error) {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	switch {
	case c.Timeout < 0:
		return nil, fmt.Errorf("the timeout is %v: want more than 0", c.Timeout)
	case c.MaxConns < 0:
		return nil, fmt.Errorf("the limit of connections is %d: want more than 0", c.MaxConns)
	}
	d, err := DialectOf(c.DSN)
	if err != nil {
		return nil, err
	}
	db := &DB{dialect: d, observe: c.Observe}
	if db.observe == nil {
		db.observe = func(int) {}
	}
	switch d {
	case PostgreSQL:
		db.backend, err = openPostgres(ctx, c)
	case MySQL:
		db.backend, err = openMySQL(c)
	default:
		db.backend, err = openSQLite(c)
	}
	if err != nil {
		return nil, err
	}
	return db, nil
}

// Dialect returns the dialect of the database's SQL.
func (d *DB) Dialect() Dialect { return d.dialect }

// Close releases the connections. Questions under way fail. It may be called again.
func (d *DB) Close() error { return d.backend.close() }

// Query is a question whose text is fixed. Its methods may be called by many goroutines.
type Query struct {
	db   *DB
	text string

	prepared statement // of database/sql; pgx keeps its own
}

// Query returns the question text, with the placeholders of the dialect. It is prepared when it is first asked.
func (d *DB) Query(text string) *Query { return &Query{db: d, text: text} }

// First scans the first row into dest, which may be empty; found is false where there is no row. It blocks until ctx ends
// or the timeout has passed.
func (q *Query) First(ctx context.Context, args []any, dest ...any) (found bool, err error) {
	q.db.observe(1)
	err = q.db.backend.rows(ctx, q, args, func(scan func(dest ...any) error) (bool, error) {
		found = true
		if len(dest) == 0 {
			return false, nil
		}
		return false, scan(dest...)
	})
	return found && err == nil, err
}

// each calls f for every row of the answer about so many keys, with what scans it, until f fails. It blocks as First does.
func (q *Query) each(ctx context.Context, keys int, args []any, f func(scan func(dest ...any) error) error) error {
	q.db.observe(keys)
	return q.db.backend.rows(ctx, q, args, func(scan func(dest ...any) error) (bool, error) {
		err := f(scan)
		return err == nil, err
	})
}

// Scrub returns err, or a stand-in when its text holds the secret: servers like to quote what they choke on.
func Scrub(err error, secret string) error {
	if secret != "" && strings.Contains(err.Error(), secret) {
		return fmt.Errorf("the database's error is left out, since it holds the credential (%T)", err)
	}
	return err
}
