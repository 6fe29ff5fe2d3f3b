package authn

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
)

// UserModel says where Django keeps its users: the table of AUTH_USER_MODEL and the names of its columns. The zero value is
// django.contrib.auth's own, see [DjangoUser]; in any other Table and PrimaryKey are needed.
type UserModel struct {
	Table          string // perhaps with a schema, as in "public.accounts_user"
	PrimaryKey     string
	NameColumn     string // USERNAME_FIELD; "": users have no name
	ActiveColumn   string // is_active; "": all users are active, as with an AbstractBaseUser that has no such field
	PasswordColumn string // for sessions, which end when it changes; "": it is not read
}

// DjangoUser returns the table and the columns of django.contrib.auth.models.User.
func DjangoUser() UserModel {
	return UserModel{
		Table: "auth_user", PrimaryKey: "id", NameColumn: "username", ActiveColumn: "is_active", PasswordColumn: "password",
	}
}

// columns are the names of a user model, quoted, of a table called u in the query.
type columns struct{ table, pk, name, active, password string }

// quoted returns the names for queries in the dialect.
func (m UserModel) quoted(d database.Dialect) (c columns, err error) {
	if m == (UserModel{}) {
		m = DjangoUser()
	}
	column := func(name string) string {
		q, nameErr := d.Name(name)
		if nameErr != nil || strings.Contains(name, ".") {
			err = errors.Join(err, fmt.Errorf("user model: %q cannot be the name of a column", name))
		}
		return "u." + q
	}
	if c.table, err = d.Name(m.Table); err != nil {
		return c, fmt.Errorf("user model: %w", err)
	}
	// Names need not be texts, and may be NULL where they are no Django's.
	text := func(name string) string {
		if name == "" {
			return "''"
		}
		return "COALESCE(" + d.Text(column(name)) + ", '')"
	}
	c.pk, c.name, c.password = column(m.PrimaryKey), text(m.NameColumn), text(m.PasswordColumn)
	if c.active = "(1 = 1)"; m.ActiveColumn != "" {
		c.active = column(m.ActiveColumn)
	}
	return c, err
}

// User is a row of the user model.
type User struct {
	ID       string // the primary key as text, in Django's form
	Name     string // "" where users have none
	Password string // as it is stored: a hash
	Active   bool
}

// String returns which user it is, and no hash.
func (u User) String() string { return "user " + u.ID }

// GoString returns the same as String.
func (u User) GoString() string { return u.String() }

// LogValue returns the same as String.
func (u User) LogValue() slog.Value { return slog.StringValue(u.String()) }

// UsersConfig says where the users are.
type UsersConfig struct {
	Name  string // of the verifier that looks them up, for errors and a metric's label
	DSN   string // sqlite:PATH, postgres://… or mysql://…
	Model UserModel
	// Field is the column that [Users.ByField] looks at. "": the primary key.
	Field      string
	Databases  *Databases    // to share connections with; nil: with nobody
	Timeout    time.Duration // for one look-up; 0 is two seconds
	MaxConns   int           // 0 is eight
	Registerer prometheus.Registerer
}

// Users looks up the users of Django, and never changes them. It may be used by many goroutines.
type Users struct {
	// Fixed after NewUsers.
	db        *database.DB
	pk        *keyColumn
	id, field *database.Lookup[User]
	byKey     bool // field is the primary key
}

// NewUsers checks the configuration and returns the look-up. It does not fail because a server is down; the file of SQLite
// must be there. ctx bounds the construction only. Errors hold no password of the DSN. Close releases what it holds.
func NewUsers(ctx context.Context, c UsersConfig) (*Users, error) {
	observe, err := newAuthQueries(c.Registerer, c.Name)
	if err != nil {
		return nil, err
	}
	db, err := c.Databases.open(ctx, database.Config{DSN: c.DSN, Timeout: c.Timeout, MaxConns: c.MaxConns, Observe: observe})
	if err != nil {
		return nil, err
	}
	u, err := newUsers(db, c.Model, c.Field)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return u, nil
}

// newUsers returns the look-up in db, which stays the caller's unless Close is called.
func newUsers(db *database.DB, m UserModel, field string) (*Users, error) {
	if m == (UserModel{}) {
		m = DjangoUser()
	}
	d := db.Dialect()
	c, err := m.quoted(d)
	if err != nil {
		return nil, err
	}
	u := &Users{db: db, pk: newKeyColumn(db, m.Table, m.PrimaryKey), byKey: field == "" || field == m.PrimaryKey}
	u.id = userLookup(db, c, c.pk, u.pk, true)
	if u.field = u.id; !u.byKey {
		f, err := d.Name(field)
		if err != nil || strings.Contains(field, ".") {
			return nil, fmt.Errorf("user model: %q cannot be the name of a column", field)
		}
		u.field = userLookup(db, c, "u."+f, u.pk, false)
	}
	return u, nil
}

// userLookup looks up users by a column, which byKey says is the primary key.
func userLookup(db *database.DB, c columns, by string, pk *keyColumn, byKey bool) *database.Lookup[User] {
	d := db.Dialect()
	query := "SELECT " + d.Text(by) + ", " + d.Text(c.pk) + ", " + c.name + ", " + c.password + ", " + c.active + " FROM " + c.table + " u WHERE " + by + " = "
	config := database.LookupConfig[User]{
		One: query + d.Param(1), Many: query + "any($1)",
		Scan: func(scan func(dest ...any) error) (key string, u User, err error) {
			var active sql.NullBool // NULL is false in Python, too
			err = scan(&key, &u.ID, &u.Name, &u.Password, &active)
			u.ID, u.Active = pk.django(u.ID), active.Bool
			if byKey {
				key = u.ID
			}
			return key, u, err
		},
	}
	if byKey {
		config.Arg, config.Public = pk.stored, true
	}
	return database.NewLookup(db, config)
}

// ByID returns the user with that primary key, in Django's form: a UUID has dashes, whatever the database does. An id that
// the column cannot hold is nobody's. found is false where there is no such user; err says that nobody could say.
func (u *Users) ByID(ctx context.Context, id string) (user User, found bool, err error) {
	return u.get(ctx, u.id, id)
}

// ByField is ByID for UsersConfig.Field. Names are compared byte for byte; that two users have the same is an error.
func (u *Users) ByField(ctx context.Context, value string) (user User, found bool, err error) {
	return u.get(ctx, u.field, value)
}

func (u *Users) get(ctx context.Context, l *database.Lookup[User], key string) (User, bool, error) {
	if len(key) > maxUserKey {
		return User{}, false, nil
	}
	if err := u.pk.learn(ctx); err != nil {
		return User{}, false, err
	}
	return l.Get(ctx, key)
}

// Check asks for a user that nobody is, and returns what keeps the database from answering, such as a column that is
// missing. It blocks as ByID does.
func (u *Users) Check(ctx context.Context) error {
	if _, _, err := u.ByID(ctx, "0"); err != nil {
		return err
	}
	_, _, err := u.ByField(ctx, "what nobody has")
	return err
}

// maxUserKey is the longest id or name that is looked up, in bytes: an e-mail address has 254 characters.
const maxUserKey = 1024

// Close waits for the look-ups under way and releases the connections. Later ones fail. It may be called again.
func (u *Users) Close() error { return u.db.Close() }
