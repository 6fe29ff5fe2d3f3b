package authn

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// sqliteDatabase reads a file that Django writes.
type sqliteDatabase struct {
	// Fixed after openSQLite.
	db      *sql.DB
	query   string
	timeout time.Duration

	mu sync.Mutex
	// Guarded by mu.
	prepared *sql.Stmt // nil until the first success
}

// openSQLite returns the database in the file behind "sqlite:". The file must be there: unlike a server it does not come
// back, so its absence is a mistake in the configuration. It is opened read-only, and no query can write.
func openSQLite(c databaseConfig, query string) (*sqliteDatabase, error) {
	path := strings.TrimPrefix(c.dsn, "sqlite:")
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	} else if info.IsDir() {
		return nil, fmt.Errorf("sqlite: %s is a directory", path)
	}
	file := (&url.URL{Path: path}).EscapedPath()
	params := url.Values{
		"mode":    {"ro"},
		"_pragma": {"query_only(1)", "busy_timeout(" + strconv.FormatInt(c.timeout.Milliseconds(), 10) + ")"},
	}
	db, err := sql.Open("sqlite", "file:"+file+"?"+params.Encode())
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	n := c.maxConns
	if n == 0 {
		n = DefaultMaxConns
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return &sqliteDatabase{db: db, query: query, timeout: c.timeout}, nil
}

func (d *sqliteDatabase) first(ctx context.Context, args []any, dest ...any) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	stmt, err := d.statement(ctx) //nolint:sqlclosecheck // it lives as long as the database
	if err != nil {
		return false, err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return false, fmt.Errorf("sqlite: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return false, fmt.Errorf("sqlite: %w", err)
		}
		return false, nil
	}
	if len(dest) > 0 {
		if err := rows.Scan(dest...); err != nil {
			return false, fmt.Errorf("sqlite: %w", err)
		}
	}
	return true, nil
}

// statement prepares the query when it is first needed, and again after a failure: the tables may not be made yet.
func (d *sqliteDatabase) statement(ctx context.Context) (*sql.Stmt, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.prepared != nil {
		return d.prepared, nil
	}
	stmt, err := d.db.PrepareContext(ctx, d.query)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	d.prepared = stmt
	return stmt, nil
}

func (d *sqliteDatabase) close() error {
	if err := d.db.Close(); err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	return nil
}
