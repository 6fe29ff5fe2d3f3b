package database

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// DefaultTimeout is how long a question may take, waiting for a connection included.
	DefaultTimeout = 2 * time.Second
	// DefaultMaxConns is how many connections a pool holds at most. Django, and the other nodes, want some of the server's
	// as well.
	DefaultMaxConns = 8
)

var (
	// ErrValue marks a question that the server understood and could not ask with these values: a number beyond the column's
	// type, a text that is none of its kind.
	ErrValue = errors.New("the value does not fit the column")
	// ErrClosed is what a closed DB answers.
	ErrClosed = errors.New("the database is closed")
	// ErrAmbiguous means that a key, which was to be one row's, is that of more.
	ErrAmbiguous = errors.New("more than one row has the key")
)

// Config says which database, and how patiently.
type Config struct {
	DSN      string        // sqlite:PATH, postgres://… or mysql://…
	Timeout  time.Duration // 0: DefaultTimeout
	MaxConns int           // 0: DefaultMaxConns
	// Observe, if it is not nil, is told of each question: for how many keys it is. It is called by many goroutines.
	Observe func(keys int)
}

// DB is one holder's way to a database. Its methods may be called by many goroutines.
type DB struct {
	// Fixed after Open.
	pool    *pool
	observe func(keys int)

	// Guarded by mu.
	mu      sync.Mutex
	closed  bool
	queries []*Query

	underway sync.WaitGroup // questions; enter adds to it, never once closed is set
}

// backend is what the kinds of databases do differently.
type backend interface {
	// rows asks q and calls each for every row. It blocks until ctx ends or the timeout has passed.
	rows(ctx context.Context, q *Query, args []any, each func(row) (more bool, err error)) error
	close() error
}

// row is a row of an answer, until the next one.
type row interface {
	Scan(dest ...any) error
	First() (any, error) // the value of the first column
}

// Open checks the configuration and returns the database, which connects when it is first asked: it does not fail because
// a server is down. The file of SQLite must be there, since unlike a server it does not come back. ctx bounds the
// construction only. The connections are the DB's own; a [Registry] shares them.
func Open(ctx context.Context, c Config) (*DB, error) { return (*Registry)(nil).Open(ctx, c) }

// openBackend returns the connections to the database that c names. The defaults are filled in.
func openBackend(ctx context.Context, c Config) (d Dialect, b backend, err error) {
	switch {
	case c.Timeout < 0:
		return d, nil, fmt.Errorf("the timeout is %v: want more than 0", c.Timeout)
	case c.MaxConns < 0:
		return d, nil, fmt.Errorf("the limit of connections is %d: want more than 0", c.MaxConns)
	}
	if d, err = DialectOf(c.DSN); err != nil {
		return d, nil, err
	}
	switch d {
	case PostgreSQL:
		b, err = openPostgres(ctx, c)
	case MySQL:
		b, err = openMySQL(c)
	default:
		b, err = openSQLite(c)
	}
	return d, b, err
}

// Dialect returns the dialect of the database's SQL.
func (d *DB) Dialect() Dialect { return d.pool.dialect }

// enter begins a question. Where it returns nil, leave must be called.
func (d *DB) enter() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	d.underway.Add(1)
	return nil
}

func (d *DB) leave() { d.underway.Done() }

// Close waits for the questions under way, which end by their timeout, and releases the connections where nobody else
// shares them. What is asked afterwards fails with [ErrClosed]. It may be called again.
func (d *DB) Close() error {
	d.mu.Lock()
	again, queries := d.closed, d.queries
	d.closed, d.queries = true, nil
	d.mu.Unlock()
	d.underway.Wait()
	if again {
		return nil
	}
	for _, q := range queries {
		q.prepared.close()
	}
	return d.pool.release()
}

// Query is a question whose text is fixed. Its methods may be called by many goroutines.
type Query struct {
	db   *DB
	text string

	prepared statement // of database/sql; pgx keeps its own
}

// Query returns the question text, with the placeholders of the dialect. It is prepared when it is first asked, and kept
// until the DB is closed.
func (d *DB) Query(text string) *Query {
	q := &Query{db: d, text: text}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queries = append(d.queries, q)
	return q
}

// First scans the first row into dest; found is false where there is no row. It blocks until ctx ends
// or the timeout has passed; a question that a server has begun with goes on to its end although ctx ends, since giving up
// would cost the connection.
func (q *Query) First(ctx context.Context, args []any, dest ...any) (found bool, err error) {
	err = q.rows(ctx, 1, args, func(r row) (bool, error) {
		found = true
		return false, r.Scan(dest...)
	})
	return found && err == nil, err
}

// Holds reports whether there is a row, and the first column of the first one is not NULL, false or zero. It blocks as First
// does.
func (q *Query) Holds(ctx context.Context, args []any) (holds bool, err error) {
	err = q.rows(ctx, 1, args, func(r row) (bool, error) {
		v, err := r.First()
		holds = err == nil && isTrue(v)
		return false, err
	})
	return holds && err == nil, err
}

// each calls f for every row of the answer about so many keys, with what scans it, until f fails. It blocks as First does.
func (q *Query) each(ctx context.Context, keys int, args []any, f func(scan func(dest ...any) error) error) error {
	return q.rows(ctx, keys, args, func(r row) (bool, error) {
		err := f(r.Scan)
		return err == nil, err
	})
}

func (q *Query) rows(ctx context.Context, keys int, args []any, each func(row) (more bool, err error)) error {
	if err := q.db.enter(); err != nil {
		return err
	}
	defer q.db.leave()
	q.db.observe(keys)
	return q.db.pool.backend.rows(ctx, q, args, each)
}
