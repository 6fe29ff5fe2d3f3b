package database

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

// statement is a prepared statement of database/sql.
type statement struct {
	// Guarded by mu.
	mu   sync.Mutex
	stmt *sql.Stmt // nil until the first success
}

// get prepares the statement when it is first needed, and again after a failure: the tables may not be made yet. Several
// may do so at once, since none is to wait longer than its ctx for a server that does not answer.
func (s *statement) get(ctx context.Context, db *sql.DB, text string) (*sql.Stmt, error) {
	s.mu.Lock()
	stmt := s.stmt
	s.mu.Unlock()
	if stmt != nil {
		return stmt, nil
	}
	stmt, err := db.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stmt == nil {
		s.stmt = stmt
	} else {
		stmt.Close()
	}
	return s.stmt, nil
}

// sqlBackend is a database behind database/sql.
type sqlBackend struct {
	// Fixed after newSQLBackend.
	name    string
	db      *sql.DB
	timeout time.Duration
	// detached asks a question to its end although the caller gave up: where a driver closes the connection of a question
	// whose context ends, clients that leave in a storm must not cost the others theirs.
	detached bool
	failed   func(error) error // says whether it was the value's fault
}

func newSQLBackend(name string, db *sql.DB, c Config) *sqlBackend {
	n := c.MaxConns
	if n == 0 {
		n = DefaultMaxConns
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return &sqlBackend{name: name, db: db, timeout: c.Timeout, failed: func(err error) error { return err }}
}

func (b *sqlBackend) rows(ctx context.Context, q *Query, args []any, each func(scan func(dest ...any) error) (bool, error)) error {
	deadline := time.Now().Add(b.timeout)
	wait, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if b.detached {
		// The pool is waited for as long as the caller does; the question goes to its end.
		conn, err := b.db.Conn(wait)
		if err != nil {
			return fmt.Errorf("%s: no connection: %w", b.name, err)
		}
		conn.Close()
		ask, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
		defer cancel()
		wait = ask
	}
	if err := b.ask(wait, q, args, each); err != nil {
		return fmt.Errorf("%s: %w", b.name, b.failed(err))
	}
	return nil
}

func (b *sqlBackend) ask(ctx context.Context, q *Query, args []any, each func(scan func(dest ...any) error) (bool, error)) error {
	stmt, err := q.prepared.get(ctx, b.db, q.text) //nolint:sqlclosecheck // it lives as long as the database
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if more, err := each(rows.Scan); err != nil || !more {
			return err
		}
	}
	return rows.Err()
}

func (b *sqlBackend) close() error {
	if err := b.db.Close(); err != nil {
		return fmt.Errorf("%s: %w", b.name, err)
	}
	return nil
}
