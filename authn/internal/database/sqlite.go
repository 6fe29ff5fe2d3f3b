package database

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

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
	return newSQLBackend("sqlite", db, c), nil
}
