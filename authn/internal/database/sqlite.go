package database

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite" // registers the driver "sqlite", too
)

// sqliteLifetime is how long a connection lasts. A file may be put in another's place, by a restore or a deployment, and a
// connection goes on reading the one before, even when there is none any more.
const sqliteLifetime = 5 * time.Second

// readOnlyDirectory is SQLITE_READONLY_DIRECTORY.
const readOnlyDirectory = 1544

var errReadOnlyDirectory = errors.New("the database is in WAL mode: whoever opens it first must be able to write the folder, for the file -shm; let the node's user write there, or keep a connection of Django's open")

// openSQLite returns the database in the file behind "sqlite:", which Django writes. It is opened read-only, and no query
// can write.
func openSQLite(c Config) (*sqlBackend, error) {
	path := strings.TrimPrefix(c.DSN, "sqlite:")
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	} else if info.IsDir() {
		return nil, fmt.Errorf("sqlite: %s is a directory", path)
	}
	file := (&url.URL{Path: path}).EscapedPath()
	params := url.Values{
		"mode":    {"ro"},
		"_pragma": {"query_only(1)", "busy_timeout(" + strconv.FormatInt(c.Timeout.Milliseconds(), 10) + ")"},
	}
	db, err := sql.Open("sqlite", "file:"+file+"?"+params.Encode())
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	b := newSQLBackend("sqlite", db, c)
	b.db.SetConnMaxLifetime(sqliteLifetime)
	b.failed = func(err error, _ []any) error {
		if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code() == readOnlyDirectory {
			return fmt.Errorf("%w (%w)", errReadOnlyDirectory, err)
		}
		return err
	}
	return b, nil
}
