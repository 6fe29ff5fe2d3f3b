package database

import (
	"errors"
	"fmt"
	"strings"
)

// Dialect is what SQL is not agreed upon.
type Dialect struct {
	name       string
	numbered   bool // $1 rather than ?
	dashedUUID bool // it has a type for them, so Django stores no 32 digits
	quote      byte // around names
}

// The dialects.
var (
	SQLite     = Dialect{name: "sqlite", quote: '"'}
	PostgreSQL = Dialect{name: "postgres", numbered: true, dashedUUID: true, quote: '"'}
	MySQL      = Dialect{name: "mysql", quote: '`'} // and MariaDB
)

const wantDSN = "want sqlite:PATH, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE"

// DialectOf returns the dialect that a DSN asks for. Its error holds no more of the DSN than the scheme.
func DialectOf(dsn string) (Dialect, error) {
	scheme, rest, ok := strings.Cut(dsn, ":")
	switch {
	case ok && scheme == "sqlite" && rest != "":
		return SQLite, nil
	case ok && (scheme == "postgres" || scheme == "postgresql") && strings.HasPrefix(rest, "//"):
		return PostgreSQL, nil
	case ok && scheme == "mysql" && strings.HasPrefix(rest, "//"):
		return MySQL, nil
	case !ok:
		return Dialect{}, fmt.Errorf("the dsn has no scheme: %s", wantDSN)
	}
	return Dialect{}, fmt.Errorf("the dsn begins with %.20q: %s", scheme+":", wantDSN)
}

var errEscapes = errors.New("the dsn has another @ than the one before its host: in a password, a name or a parameter want %40 for @, and %2F for /, %3F for ?, %23 for #")

// checkEscapes refuses a URL in which the password may not be escaped. What stands behind a / in it would be taken for the
// name of a database and what stands behind an @ for a host, and each error of a connection would show it.
func checkEscapes(dsn string) error {
	_, rest, _ := strings.Cut(dsn, "://")
	authority := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority = i
	}
	if at := strings.IndexByte(rest, '@'); at >= 0 && (at > authority || strings.Contains(rest[at+1:], "@")) {
		return errEscapes
	}
	return nil
}

// String returns the scheme of its DSNs.
func (d Dialect) String() string { return d.name }

// Numbered reports whether placeholders are $1, $2 and so on, rather than ?.
func (d Dialect) Numbered() bool { return d.numbered }

// DashedUUID reports whether UUIDs have their dashes: Django stores 32 digits where there is no type for them.
func (d Dialect) DashedUUID() bool { return d.dashedUUID }

// Text returns the expression's value as text.
func (d Dialect) Text(expression string) string {
	if d == MySQL { // its CAST knows no TEXT
		return "CAST(" + expression + " AS CHAR)"
	}
	return "CAST(" + expression + " AS text)"
}

// Param returns the placeholder of the nth argument, from 1.
func (d Dialect) Param(n int) string {
	if d.numbered {
		return fmt.Sprintf("$%d", n)
	}
	return "?"
}

// Name quotes the name of a table or column; of "schema.table" each part. An empty part, a NUL or a name that is absurdly
// long is an error.
func (d Dialect) Name(name string) (string, error) {
	q := string(d.quote)
	var b strings.Builder
	for i, part := range strings.Split(name, ".") {
		if part == "" || len(part) > 128 || strings.IndexByte(part, 0) >= 0 {
			return "", fmt.Errorf("%.80q cannot be the name of a table or column", name)
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(q + strings.ReplaceAll(part, q, q+q) + q)
	}
	return b.String(), nil
}
