package database

import (
	"context"
	"strings"
)

// ColumnType returns the type that a column was declared with, in lower case, such as "char(32)" or "bigint". Of a table or
// a column that the database does not know, or does not tell of, it returns "". It blocks as [Query.First] does, and
// nobody is told of the question.
func (d *DB) ColumnType(ctx context.Context, table, column string) (string, error) {
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
			return "", err
		}
		text = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped"
		args[0] = quoted
	}
	if err := d.enter(); err != nil {
		return "", err
	}
	defer d.leave()
	q := &Query{db: d, text: text}
	defer q.prepared.close()
	var declared string
	err := d.pool.backend.rows(ctx, q, args, func(scan func(dest ...any) error) (bool, error) { return false, scan(&declared) })
	return strings.ToLower(declared), err
}
