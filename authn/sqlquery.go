package authn

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
)

// sqlQuery is a query whose placeholders were found and rewritten for a driver.
type sqlQuery struct {
	text  string
	names []string // of the placeholders, in the order of the driver's arguments; a name may come again
}

// parseQuery rewrites every :name outside of strings, quoted names and comments to what the dialect's driver wants; a cast
// (::int) is none. It refuses what could only be a mistake: more than one statement, a placeholder in the driver's own
// form, and something left open.
func parseQuery(query string, d database.Dialect) (sqlQuery, error) {
	p := queryParser{dialect: d, rest: query}
	for p.rest != "" {
		if err := p.token(); err != nil {
			return sqlQuery{}, err
		}
	}
	if err := p.check(); err != nil {
		return sqlQuery{}, err
	}
	return sqlQuery{text: strings.TrimSpace(p.out.String()), names: p.names}, nil
}

// queryParser reads a query token by token, and copies all but placeholders to out.
type queryParser struct {
	dialect database.Dialect
	rest    string
	out     strings.Builder
	names   []string
	first   string // word or parenthesis, in lower case
	depth   int    // of parentheses
	ended   bool   // a semicolon came
}

var errOpen = errors.New("a quote or a comment is left open")

func (p *queryParser) token() error {
	c := p.rest[0]
	switch {
	case c == 0:
		return errors.New("it holds a NUL")
	case c == ' ' || '\t' <= c && c <= '\r':
		p.copy(1)
		return nil
	case strings.HasPrefix(p.rest, "--"):
		if p.dialect == database.MySQL && len(p.rest) > 2 && p.rest[2] > ' ' { // 1--1 is 2 there
			p.copy(2)
			return nil
		}
		p.line()
		return nil
	case strings.HasPrefix(p.rest, "/*"):
		return p.comment()
	case p.ended:
		return errors.New("it has more than one statement")
	case isWordStart(c):
		return p.word()
	}
	switch c {
	case '\'', '"': // strings both in MySQL
		return p.quoted(c, p.dialect == database.MySQL)
	case '`':
		if p.dialect != database.PostgreSQL {
			return p.quoted('`', false)
		}
	case '#':
		if p.dialect == database.MySQL {
			p.line()
			return nil
		}
	case '[':
		if p.dialect == database.SQLite {
			return p.quoted(']', false)
		}
	case '$', '?', '@':
		return p.driverPlaceholder(c)
	case ':':
		return p.placeholder()
	case '(':
		p.begin("(")
		p.depth++
	case ')':
		p.depth--
	case ';':
		p.ended = true
		p.rest = p.rest[1:]
		return nil
	}
	p.copy(1)
	return nil
}

func (p *queryParser) copy(n int) {
	p.out.WriteString(p.rest[:n])
	p.rest = p.rest[n:]
}

// begin notes what the query begins with.
func (p *queryParser) begin(with string) {
	if p.first == "" {
		p.first = with
	}
}

// line copies the rest of the line, a comment.
func (p *queryParser) line() {
	n := strings.IndexByte(p.rest, '\n')
	if n < 0 {
		n = len(p.rest) - 1
	}
	p.copy(n + 1)
}

// comment copies a comment. Those of PostgreSQL nest, and some of MySQL are none.
func (p *queryParser) comment() error {
	if p.dialect == database.MySQL && (strings.HasPrefix(p.rest, "/*!") || strings.HasPrefix(p.rest, "/*M!")) {
		return errors.New("it has a comment that MySQL would run (/*!): write its content, or leave it out")
	}
	depth := 1
	for i := 2; i+1 < len(p.rest); i++ {
		switch p.rest[i : i+2] {
		case "/*":
			if p.dialect == database.PostgreSQL {
				depth++
				i++
			}
		case "*/":
			depth--
			i++
			if depth == 0 {
				p.copy(i + 1)
				return nil
			}
		}
	}
	return errOpen
}

// quoted copies up to the closing quote. Doubled, it stands for itself; behind a backslash too, where escapes are on.
func (p *queryParser) quoted(closing byte, escapes bool) error {
	for i := 1; i < len(p.rest); i++ {
		switch {
		case escapes && p.rest[i] == '\\':
			i++
		case p.rest[i] != closing:
		case closing != ']' && i+1 < len(p.rest) && p.rest[i+1] == closing:
			i++
		default:
			p.copy(i + 1)
			return nil
		}
	}
	return errOpen
}

// word copies a keyword, a name or a number, and the string behind it where the word is PostgreSQL's E.
func (p *queryParser) word() error {
	n := 1
	for n < len(p.rest) && (isWordStart(p.rest[n]) || p.rest[n] == '$') {
		n++
	}
	word := strings.ToLower(p.rest[:n])
	p.begin(word)
	p.copy(n)
	if word == "e" && p.dialect == database.PostgreSQL && strings.HasPrefix(p.rest, "'") {
		return p.quoted('\'', true)
	}
	return nil
}

// driverPlaceholder copies a $-quoted string, or an operator of PostgreSQL, and refuses a placeholder.
func (p *queryParser) driverPlaceholder(c byte) error {
	if p.dialect == database.PostgreSQL {
		if c != '$' {
			p.copy(1)
			return nil
		}
		end := 1
		for end < len(p.rest) && isWordStart(p.rest[end]) {
			end++
		}
		if end < len(p.rest) && p.rest[end] == '$' && (end == 1 || !isDigit(p.rest[1])) {
			tag := p.rest[:end+1]
			n := strings.Index(p.rest[len(tag):], tag)
			if n < 0 {
				return errOpen
			}
			p.copy(len(tag) + n + len(tag))
			return nil
		}
	}
	return fmt.Errorf("it has a placeholder with %q: write :user, :group and so on", c)
}

// placeholder rewrites :name, and copies any other colon: a cast, or the bounds of an array's slice.
func (p *queryParser) placeholder() error {
	if strings.HasPrefix(p.rest, "::") {
		p.copy(2)
		return nil
	}
	n := 1
	for n < len(p.rest) && isWordStart(p.rest[n]) && p.rest[n] < 0x80 {
		n++
	}
	if n == 1 || isDigit(p.rest[1]) {
		p.copy(1)
		return nil
	}
	p.names = append(p.names, p.rest[1:n])
	p.rest = p.rest[n:]
	if !p.dialect.Numbered() {
		p.out.WriteByte('?')
		return nil
	}
	// A dollar behind a letter would be part of the word. Every place has its own number, since the same value can be
	// compared with columns of different types.
	if s := p.out.String(); s != "" && isWordStart(s[len(s)-1]) {
		p.out.WriteByte(' ')
	}
	fmt.Fprintf(&p.out, "$%d", len(p.names))
	return nil
}

func (p *queryParser) check() error {
	switch {
	case p.first != "select" && p.first != "with":
		return errors.New("it does not begin with SELECT or WITH")
	case p.depth != 0:
		return errors.New("its parentheses do not match")
	}
	return nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isWordStart reports whether c can be in a word. Numbers count as words here.
func isWordStart(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c) || c == '_' || c >= 0x80
}
