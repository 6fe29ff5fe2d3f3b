package authn

import (
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
)

func TestParseQuery(t *testing.T) {
	for _, c := range []struct {
		name, query, sqlite, postgres string // "": as it was
		names                         string // separated by spaces
	}{
		{"one", "SELECT 1 FROM g WHERE u = :user", "SELECT 1 FROM g WHERE u = ?", "SELECT 1 FROM g WHERE u = $1", "user"},
		{"none", "SELECT 1", "", "", ""},
		{"again", "select 1 where :id=:user or :id", "select 1 where ?=? or ?", "select 1 where $1=$2 or $3", "id user id"},
		{"cast", "SELECT 1 WHERE a::int = :id::int", "SELECT 1 WHERE a::int = ?::int", "SELECT 1 WHERE a::int = $1::int", "id"},
		{"behind a word", "SELECT 1 WHERE a AND:id", "SELECT 1 WHERE a AND?", "SELECT 1 WHERE a AND $1", "id"},
		{"long name", "SELECT :a_B9 ", "SELECT ?", "SELECT $1", "a_B9"},
		{"string", "SELECT ':user', 'it''s :user', :id", "SELECT ':user', 'it''s :user', ?", "SELECT ':user', 'it''s :user', $1", "id"},
		{"quoted name", `SELECT ":user", "a"":b"`, "", "", ""},
		{"line comment", "SELECT 1 -- :user '\n WHERE :id", "SELECT 1 -- :user '\n WHERE ?", "SELECT 1 -- :user '\n WHERE $1", "id"},
		{"comment at the end", "SELECT 1 -- it's", "", "", ""},
		{"comment", "SELECT /* :user ' */ :id", "SELECT /* :user ' */ ?", "SELECT /* :user ' */ $1", "id"},
		{"semicolon at the end", "SELECT :id ; \n-- over\n", "SELECT ?  \n-- over", "SELECT $1  \n-- over", "id"},
		{"semicolon in a string", "SELECT ';', :id", "SELECT ';', ?", "SELECT ';', $1", "id"},
		{"bounds of an array", "SELECT a[1:2], :id", "", "SELECT a[1:2], $1", "id"},
		{"time", "SELECT 1 WHERE t = '12:30' AND :id", "SELECT 1 WHERE t = '12:30' AND ?", "SELECT 1 WHERE t = '12:30' AND $1", "id"},
		{"with", "WITH x AS (SELECT 1) SELECT * FROM x WHERE :id", "WITH x AS (SELECT 1) SELECT * FROM x WHERE ?", "WITH x AS (SELECT 1) SELECT * FROM x WHERE $1", "id"},
		{"backslash in a string", `SELECT 'a\' , :id`, `SELECT 'a\' , ?`, `SELECT 'a\' , $1`, "id"},
		{"exists in a condition", "SELECT 1 WHERE EXISTS (SELECT 1 WHERE :id)", "SELECT 1 WHERE EXISTS (SELECT 1 WHERE ?)", "SELECT 1 WHERE EXISTS (SELECT 1 WHERE $1)", "id"},
		{"count with having", "SELECT count(*) FROM g HAVING count(*) > :id", "SELECT count(*) FROM g HAVING count(*) > ?", "SELECT count(*) FROM g HAVING count(*) > $1", "id"},
		{"a column called count", "SELECT count FROM g", "", "", ""},
		{"UTF-8", "SELECT 'é' AS ü, :id", "SELECT 'é' AS ü, ?", "SELECT 'é' AS ü, $1", "id"},
	} {
		for _, d := range []database.Dialect{database.SQLite, database.PostgreSQL} {
			want := c.sqlite
			if d == database.PostgreSQL {
				want = c.postgres
			}
			if c.name == "bounds of an array" && d == database.SQLite {
				continue // brackets quote a name there
			}
			if want == "" {
				want = c.query
			}
			got, err := parseQuery(c.query, d)
			if err != nil || got.text != want || !slices.Equal(got.names, strings.Fields(c.names)) {
				t.Errorf("%s, %s: got %q %q, %v, want %q %q", c.name, d, got.text, got.names, err, want, c.names)
			}
		}
	}
}

func TestParseQueryDialects(t *testing.T) {
	for _, c := range []struct {
		dialect           database.Dialect
		query, want, name string
	}{
		{database.PostgreSQL, `SELECT E'it\'s :user', :id`, `SELECT E'it\'s :user', $1`, "escape string"},
		{database.PostgreSQL, `SELECT e'\\', :id`, `SELECT e'\\', $1`, "escaped backslash"},
		{database.PostgreSQL, `SELECT $$ :user ' $$, :id`, `SELECT $$ :user ' $$, $1`, "dollar quotes"},
		{database.PostgreSQL, `SELECT $a1$ :user $$ $b$ $a1$, :id`, `SELECT $a1$ :user $$ $b$ $a1$, $1`, "dollar quotes with a tag"},
		{database.PostgreSQL, `SELECT a$b$c, :id`, `SELECT a$b$c, $1`, "dollars in a name"},
		{database.PostgreSQL, `SELECT /* /* :user */ :user */ :id`, `SELECT /* /* :user */ :user */ $1`, "nested comment"},
		{database.PostgreSQL, `SELECT j ? 'a', j @> '{}', @ -1, :id`, `SELECT j ? 'a', j @> '{}', @ -1, $1`, "operators"},
		{database.PostgreSQL, "SELECT a[:id:2]", "SELECT a[$1:2]", "array"},
		{database.SQLite, "SELECT [:user], `:user`, `a``:b`, :id", "SELECT [:user], `:user`, `a``:b`, ?", "quoted names"},
		{database.SQLite, `SELECT /* /* :user */ :id`, `SELECT /* /* :user */ ?`, "comments do not nest"},
		{database.MySQL, `SELECT 'it\'s :user', :id`, `SELECT 'it\'s :user', ?`, "an escaped quote"},
		{database.MySQL, `SELECT "\\", ":user\"", :id`, `SELECT "\\", ":user\"", ?`, "escapes in a string with double quotes"},
		{database.MySQL, "SELECT `a\\`, `b``:user`, :id", "SELECT `a\\`, `b``:user`, ?", "no escapes in names"},
		{database.MySQL, "SELECT 1 # it's :user\n+ :id", "SELECT 1 # it's :user\n+ ?", "a comment of its own"},
		{database.MySQL, "SELECT 1 # it's", "", ""},
		{database.MySQL, "SELECT 5--:id", "SELECT 5--?", "two signs"},
		{database.MySQL, "SELECT 5 -- it's :user\n, :id", "SELECT 5 -- it's :user\n, ?", "a comment"},
		{database.MySQL, "SELECT 5 --\t:user\n, :id", "SELECT 5 --\t:user\n, ?", "a comment behind a tab"},
		{database.MySQL, "SELECT :id --", "SELECT ? --", "a comment at the end"},
		{database.MySQL, `SELECT /* /* :user */ :id`, `SELECT /* /* :user */ ?`, "comments do not nest"},
		{database.MySQL, `SELECT a[1], e'\'' , :id`, `SELECT a[1], e'\'' , ?`, "brackets are nothing"},
		{database.MySQL, "SELECT 1 FROM g WHERE BINARY name = :id", "SELECT 1 FROM g WHERE BINARY name = ?", "bytes"},
	} {
		got, err := parseQuery(c.query, c.dialect)
		names := []string{"id"}
		if c.want == "" { // it is left as it is
			c.want, names = c.query, nil
		}
		if err != nil || got.text != c.want || !slices.Equal(got.names, names) {
			t.Errorf("%s: got %q %q, %v, want %q", c.name, got.text, got.names, err, c.want)
		}
	}
}

func TestParseQueryRefuses(t *testing.T) {
	every := []database.Dialect{database.SQLite, database.PostgreSQL, database.MySQL}
	for _, c := range []struct {
		query, want string
		dialects    []database.Dialect
	}{
		{"", "SELECT or WITH", every},
		{"-- nothing", "SELECT or WITH", every},
		{"DELETE FROM g RETURNING 1", "SELECT or WITH", every},
		{"(SELECT 1)", "SELECT or WITH", every},
		{"SELECT 1; DELETE FROM g", "more than one statement", every},
		{"SELECT 1;;", "more than one statement", every},
		{"SELECT 'a", "left open", every},
		{`SELECT "a`, "left open", every},
		{"SELECT 'a''", "left open", every},
		{"SELECT /* a", "left open", every},
		{"SELECT /*/", "left open", every},
		{"SELECT /* /* */ 1", "left open", []database.Dialect{database.PostgreSQL}},
		{"SELECT $a$ $b$", "left open", []database.Dialect{database.PostgreSQL}},
		{`SELECT E'\'`, "left open", []database.Dialect{database.PostgreSQL}},
		{"SELECT `a", "left open", []database.Dialect{database.SQLite, database.MySQL}},
		{`SELECT 'a\'`, "left open", []database.Dialect{database.MySQL}},
		{`SELECT "a\"`, "left open", []database.Dialect{database.MySQL}},
		{"SELECT /*!40000 1 */", "MySQL would run", []database.Dialect{database.MySQL}},
		{"SELECT /*M! 1 */", "MySQL would run", []database.Dialect{database.MySQL}},
		{"SELECT [a", "left open", []database.Dialect{database.SQLite}},
		{"SELECT 1 WHERE a = $1", "placeholder", every},
		{"SELECT 1 WHERE a = $user", "placeholder", every},
		{"SELECT 1 WHERE a = ?", "placeholder", []database.Dialect{database.SQLite, database.MySQL}},
		{"SELECT 1 WHERE a = @user", "placeholder", []database.Dialect{database.SQLite, database.MySQL}},
		{"SELECT 1 WHERE (a = :user", "parentheses", every},
		{"SELECT 1\x00", "NUL", every},
	} {
		for _, d := range c.dialects {
			got, err := parseQuery(c.query, d)
			if err == nil {
				t.Errorf("%s: %q became %q", d, c.query, got.text)
			} else if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %q: the error %q does not say %q", d, c.query, err, c.want)
			}
		}
	}
}

// FuzzParseQuery checks that rewriting loses nothing: put the names back, and the query is the one that came.
func FuzzParseQuery(f *testing.F) {
	for _, q := range []string{
		"SELECT 1 FROM gate_grant WHERE user_id = :user AND app_id = :id", "SELECT ':a' || :b -- :c\n", "SELECT /* :a */ E'\\':b' ;",
		"WITH x AS (SELECT $$:a$$) SELECT [:b], `:c`, \":d\"", "SELECT a::int = :id::int AND:id",
		"SELECT 'it\\'s :a' # :b\n, \"\\\":c\" --:d\n",
	} {
		for d := range uint8(3) {
			f.Add(q, d)
		}
	}
	f.Fuzz(func(t *testing.T, query string, dialect uint8) {
		d := []database.Dialect{database.SQLite, database.PostgreSQL, database.MySQL}[dialect%3]
		numbered := d.Numbered()
		got, err := parseQuery(query, d)
		if err != nil {
			return
		}
		if numbered && len(got.names) > 9 { // $1 is then also the beginning of $10
			return
		}
		text := got.text
		for i, name := range got.names {
			mark := "?"
			if numbered {
				mark = "$" + string(rune('1'+i))
			}
			before, after, ok := strings.Cut(text, mark)
			if !ok {
				t.Fatalf("%q: %s is missing in %q", query, mark, got.text)
			}
			if !numbered && strings.Contains(query, "?") || numbered && strings.Contains(query, "$") {
				return // a string may hold the mark
			}
			text = before + ":" + name + after
		}
		squeeze := strings.NewReplacer(" ", "", "\t", "", "\n", "", "\v", "", "\f", "", "\r", "", ";", "")
		if squeeze.Replace(text) != squeeze.Replace(query) {
			t.Fatalf("%q became %q", query, got.text)
		}
	})
}
