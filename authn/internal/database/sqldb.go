package database

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
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
		stmt.Close() //nolint:sqlclosecheck // only this one of several
	}
	return s.stmt, nil
}

// close gives the prepared statement back. Nobody asks it any more.
func (s *statement) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stmt != nil {
		s.stmt.Close()
		s.stmt = nil
	}
}

// sqlBackend is a database behind database/sql.
type sqlBackend struct {
	// Fixed after newSQLBackend.
	name    string
	db      *sql.DB
	timeout time.Duration
	// slots, one for each connection, are there where a driver closes the connection of a question whose context ends: the
	// slot is waited for as long as the caller does, and then the question goes to its end, since clients that leave in a
	// storm must not cost the others their connections. nil: the driver need not be spared.
	slots  chan struct{}
	failed func(err error, args []any) error // says whether it was the values' fault
}

func newSQLBackend(name string, db *sql.DB, c Config) *sqlBackend {
	db.SetMaxOpenConns(c.MaxConns)
	db.SetMaxIdleConns(c.MaxConns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return &sqlBackend{name: name, db: db, timeout: c.Timeout, failed: func(err error, _ []any) error { return err }}
}

func (b *sqlBackend) rows(ctx context.Context, q *Query, args []any, each func(row) (bool, error)) error {
	deadline := time.Now().Add(b.timeout)
	ask, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if b.slots != nil {
		select {
		case b.slots <- struct{}{}:
			defer func() { <-b.slots }()
		case <-ask.Done():
			return fmt.Errorf("%s: no connection: %w", b.name, ask.Err())
		}
		if err := ask.Err(); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		ask, cancel = context.WithDeadline(context.WithoutCancel(ctx), deadline)
		defer cancel()
	}
	if err := b.ask(ask, q, args, each); err != nil {
		return fmt.Errorf("%s: %w", b.name, b.failed(err, args))
	}
	return nil
}

func (b *sqlBackend) ask(ctx context.Context, q *Query, args []any, each func(row) (bool, error)) error {
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
		if more, err := each(sqlRow{rows}); err != nil || !more {
			return err
		}
	}
	return rows.Err()
}

// sqlRow is the row that is read now.
type sqlRow struct{ *sql.Rows }

// First implements row.
func (r sqlRow) First() (any, error) {
	columns, err := r.ColumnTypes()
	if err != nil {
		return nil, err
	}
	var first any
	dest := make([]any, len(columns))
	for i := range dest {
		dest[i] = new(sql.RawBytes)
	}
	dest[0] = &first
	if err := r.Scan(dest...); err != nil {
		return nil, err
	}
	if bits, ok := first.([]byte); ok && columns[0].DatabaseTypeName() == "BIT" { // of MySQL, which sends the number's bytes
		return slices.ContainsFunc(bits, func(b byte) bool { return b != 0 }), nil
	}
	return first, nil
}

func (b *sqlBackend) close() error {
	if err := b.db.Close(); err != nil {
		return fmt.Errorf("%s: %w", b.name, err)
	}
	return nil
}
