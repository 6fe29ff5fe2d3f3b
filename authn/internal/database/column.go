package database

import (
	"context"
	"strings"
)

// ColumnType returns the type that a column was declared with, in lower case, such as "char(32)" or "bigint"; found is false
// where the database knows none, or tells us of none. It blocks as [Query.First] does, and is not observed.
func (d *DB) ColumnType(ctx context.Context, table, column string) (declared string, found bool, err error) {
	schema, name, qualified := strings.Cut(table, ".")
	if !qualified {
		schema, name = "", table
	}
	var text string
	args := []any{name, column}
	switch d.Dialect() {
	case SQLite:
		text = "SELECT type FROM pragma_table_info(?) WHERE name = ?"
		if qualified {
			text, args = "SELECT type FROM pragma_table_info(?, ?) WHERE name = ?", []any{name, schema, column}
		}
	case MySQL:
		text = "SELECT column_type FROM information_schema.columns WHERE table_name = ? AND column_name = ? AND table_schema = "
		if qualified {
			text, args = text+"?", append(args, schema)
		} else {
			text += "database()"
		}
	default:
		quoted, err := d.Dialect().Name(table)
		if err != nil {
			return "", false, err
		}
		text = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped"
		args[0] = quoted
	}
	if err := d.enter(); err != nil {
		return "", false, err
	}
	defer d.leave()
	q := &Query{db: d, text: text}
	defer q.prepared.close()
	err = d.pool.backend.rows(ctx, q, args, func(r row) (bool, error) {
		found = true
		return false, r.Scan(&declared)
	})
	return strings.ToLower(declared), found && err == nil, err
}
