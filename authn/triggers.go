package authn

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
)

// triggerFunction is what every trigger calls.
const triggerFunction = "fairlead_auth_changed"

// Triggers says of which tables of a PostgreSQL a [Listener] is to be told. All names are as they are in the database.
type Triggers struct {
	Users       []UserModel  // told of: a primary key, name, flag or password that changes, and who is deleted. Logging in is not told
	Tokens      []TokenModel // told of: all that happens to a token
	Sessions    []string     // tables of Django's sessions; told of: those that are deleted, change or end earlier
	Permissions []Permission // told of: rows that come, change and go, by their user
}

// Permission is a table that says what users may do.
type Permission struct {
	Table      string // perhaps with a schema
	UserColumn string // the user's primary key
}

// trigger is one CREATE TRIGGER.
type trigger struct {
	table, name string   // quoted
	events      string   // as in "UPDATE OR DELETE"
	level       string   // ROW or STATEMENT
	conditions  []string // of which one must be so; none: always
	arguments   string
}

func (t trigger) create() string {
	when := ""
	if len(t.conditions) > 0 {
		when = "\n    WHEN (" + strings.Join(t.conditions, " OR ") + ")"
	}
	return fmt.Sprintf("CREATE TRIGGER %s AFTER %s ON %s FOR EACH %s%s\n    EXECUTE FUNCTION %s(%s);\n",
		t.name, t.events, t.table, t.level, when, triggerFunction, t.arguments)
}

var errNoTables = errors.New("there is no table to watch")

// Tables returns the tables, quoted.
func (t Triggers) Tables() ([]string, error) {
	all, err := t.triggers()
	if err != nil {
		return nil, err
	}
	var tables []string
	for _, one := range all {
		if !slices.Contains(tables, one.table) {
			tables = append(tables, one.table)
		}
	}
	return tables, nil
}

// SQL returns statements that make the triggers, whatever of them is there already. They need PostgreSQL 11, and are for
// the tables' owner. What is sent is a primary key or the SHA-256 of a key, and never a key.
func (t Triggers) SQL() (string, error) {
	all, err := t.triggers()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("BEGIN;\n\n" + triggerBody + "\n")
	for _, one := range all {
		fmt.Fprintf(&b, "\nDROP TRIGGER IF EXISTS %s ON %s;\n", one.name, one.table)
		b.WriteString(one.create())
	}
	b.WriteString("\nCOMMIT;\n")
	return b.String(), nil
}

// DropSQL returns statements that take away what those of SQL have made. Triggers of other tables stay and go on to work.
func (t Triggers) DropSQL() (string, error) {
	all, err := t.triggers()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("BEGIN;\n\n")
	for _, one := range all {
		fmt.Fprintf(&b, "DROP TRIGGER IF EXISTS %s ON %s;\n", one.name, one.table)
	}
	b.WriteString("\n" + triggerDrop + "\nCOMMIT;\n")
	return b.String(), nil
}

// triggers returns what to make, table by table.
func (t Triggers) triggers() ([]trigger, error) {
	w := triggerWriter{}
	for _, m := range t.Users {
		w.users(m)
	}
	for _, m := range t.Tokens {
		if m == (TokenModel{}) {
			m = DRFTokens()
		}
		w.table(m.Table, "token", m.KeyColumn, "INSERT OR UPDATE OR DELETE")
	}
	for _, table := range t.Sessions {
		w.table(table, "session", "session_key", "DELETE")
		w.update(table, "session", "session_key", "OLD.session_key IS DISTINCT FROM NEW.session_key",
			"OLD.session_data IS DISTINCT FROM NEW.session_data", "NEW.expire_date < OLD.expire_date")
	}
	for _, p := range t.Permissions {
		w.table(p.Table, "permission_"+p.UserColumn, p.UserColumn, "INSERT OR UPDATE OR DELETE")
	}
	if w.err == nil && len(w.all) == 0 {
		w.err = errNoTables
	}
	return w.all, w.err
}

// triggerWriter collects triggers; the same one twice is one.
type triggerWriter struct {
	all []trigger
	err error
}

// name quotes a name of the database.
func (w *triggerWriter) name(name string, column bool) string {
	q, err := database.PostgreSQL.Name(name)
	if err == nil && column && strings.Contains(name, ".") {
		err = fmt.Errorf("%q cannot be the name of a column", name)
	}
	if err != nil && w.err == nil {
		w.err = err
	}
	return q
}

// add adds a trigger. One that is there already gets the conditions of both.
func (w *triggerWriter) add(table, name, column, events, level string, conditions ...string) {
	kind := name
	if strings.HasPrefix(name, "permission_") { // what a user may do is news of the user
		kind = "user"
	}
	kind, _, _ = strings.Cut(kind, "_")
	t := trigger{
		table: w.name(table, false), name: w.name("fairlead_auth_"+name, true), events: events, level: level,
		conditions: conditions, arguments: literal(kind) + ", " + literal(column),
	}
	w.name(column, true)
	i := slices.IndexFunc(w.all, func(o trigger) bool { return o.table == t.table && o.name == t.name })
	switch {
	case i < 0:
		w.all = append(w.all, t)
	case w.all[i].arguments != t.arguments && w.err == nil:
		w.err = fmt.Errorf("the table %s is named by two columns: %s and %s", t.table, w.all[i].arguments, t.arguments)
	default:
		for _, c := range conditions {
			if !slices.Contains(w.all[i].conditions, c) {
				w.all[i].conditions = append(w.all[i].conditions, c)
			}
		}
	}
}

// table adds the triggers of a table for its rows, and for all of them at once.
func (w *triggerWriter) table(table, name, column, events string) {
	w.add(table, name, column, events, "ROW")
	w.add(table, name+"_truncate", column, "TRUNCATE", "STATEMENT")
}

// update adds the trigger for those changes of rows that one of the conditions picks.
func (w *triggerWriter) update(table, name, column string, conditions ...string) {
	w.add(table, name+"_update", column, "UPDATE", "ROW", conditions...)
}

func (w *triggerWriter) users(m UserModel) {
	if m == (UserModel{}) {
		m = DjangoUser()
	}
	w.table(m.Table, "user", m.PrimaryKey, "DELETE")
	var changed []string
	for _, c := range []string{m.PrimaryKey, m.NameColumn, m.ActiveColumn, m.PasswordColumn} {
		if c != "" {
			q := w.name(c, true)
			changed = append(changed, "OLD."+q+" IS DISTINCT FROM NEW."+q)
		}
	}
	w.update(m.Table, "user", m.PrimaryKey, changed...)
}

// literal quotes a text for SQL.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// triggerBody is the function that the triggers call with the kind of the change and the column that names what changed.
// A text that would be too long to send is told as a change of anything.
const triggerBody = `CREATE OR REPLACE FUNCTION ` + triggerFunction + `() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $fairlead$
DECLARE
    old_value text;
    new_value text;
    changed text;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('` + NotifyChannel + `', 'v1 all');
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        EXECUTE format('SELECT ($1).%I::text', TG_ARGV[1]) INTO old_value USING OLD;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        EXECUTE format('SELECT ($1).%I::text', TG_ARGV[1]) INTO new_value USING NEW;
    END IF;
    FOR changed IN SELECT DISTINCT v FROM unnest(ARRAY[old_value, new_value]) AS v WHERE v IS NOT NULL LOOP
        IF TG_ARGV[0] <> 'user' THEN
            changed := encode(sha256(convert_to(changed, 'UTF8')), 'hex');
        END IF;
        changed := 'v1 ' || TG_ARGV[0] || ' ' || changed;
        IF octet_length(changed) > 300 THEN
            changed := 'v1 all';
        END IF;
        PERFORM pg_notify('` + NotifyChannel + `', changed);
    END LOOP;
    RETURN NULL;
END
$fairlead$;
`

// triggerDrop drops the function, unless triggers of tables that are not meant call it: a permission's, or those of another
// configuration. PostgreSQL itself knows that, and a mere look at the triggers could be too early.
const triggerDrop = `DO $fairlead$
BEGIN
    DROP FUNCTION IF EXISTS ` + triggerFunction + `();
EXCEPTION WHEN dependent_objects_still_exist THEN
    RAISE NOTICE '` + triggerFunction + `() stays: triggers of other tables call it';
END
$fairlead$;
`
