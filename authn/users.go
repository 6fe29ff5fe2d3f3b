package authn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
)

// UserModel says where Django keeps its users: the table of AUTH_USER_MODEL and the names of its columns. The zero value is
// django.contrib.auth's own, see [DjangoUser]; in any other all but NameColumn are needed.
type UserModel struct {
	Table          string // perhaps with a schema, as in "public.accounts_user"
	PrimaryKey     string
	NameColumn     string // USERNAME_FIELD; "": users have no name
	ActiveColumn   string
	PasswordColumn string // only looked at for sessions, which end when it changes
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
	c.pk, c.active, c.name = column(m.PrimaryKey), column(m.ActiveColumn), "''"
	if m.NameColumn != "" {
		c.name = column(m.NameColumn)
	}
	c.password = "''"
	if m.PasswordColumn != "" {
		c.password = column(m.PasswordColumn)
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

// LogValue and String would show the password's hash: a User is not for logs.

// UsersConfig says where the users are.
type UsersConfig struct {
	Name  string // of the verifier that looks them up, for errors and a metric's label
	DSN   string // sqlite:PATH, postgres://… or mysql://…
	Model UserModel
	// Field is the column that [Users.ByField] looks at. "": the primary key.
	Field      string
	Timeout    time.Duration // for one look-up; 0 is two seconds
	MaxConns   int           // 0 is eight
	Registerer prometheus.Registerer
}

// Users looks up the users of Django, and never changes them. It may be used by many goroutines.
type Users struct {
	// Fixed after NewUsers.
	db        *database.DB
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
	db, err := database.Open(ctx, database.Config{DSN: c.DSN, Timeout: c.Timeout, MaxConns: c.MaxConns, Observe: observe})
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
	u := &Users{db: db, byKey: field == "" || field == m.PrimaryKey}
	u.id = userLookup(db, c, c.pk)
	if u.field = u.id; !u.byKey {
		f, err := d.Name(field)
		if err != nil || strings.Contains(field, ".") {
			return nil, fmt.Errorf("user model: %q cannot be the name of a column", field)
		}
		u.field = userLookup(db, c, "u."+f)
	}
	return u, nil
}

// userLookup looks up users by a column.
func userLookup(db *database.DB, c columns, by string) *database.Lookup[User] {
	d := db.Dialect()
	query := "SELECT " + d.Text(by) + ", " + d.Text(c.pk) + ", " + c.name + ", " + c.password + ", " + c.active + " FROM " + c.table + " u WHERE " + by + " = "
	return database.NewLookup(db, database.LookupConfig[User]{
		One: query + d.Param(1), Many: query + "any($1)",
		Scan: func(scan func(dest ...any) error) (key string, u User, err error) {
			err = scan(&key, &u.ID, &u.Name, &u.Password, &u.Active)
			u.ID = djangoKey(u.ID, d)
			return key, u, err
		},
	})
}

// ByID returns the user with that primary key, in Django's form: a UUID has dashes, whatever the database does. An id that
// the column cannot hold is nobody's. found is false where there is no such user; err says that nobody could say.
func (u *Users) ByID(ctx context.Context, id string) (user User, found bool, err error) {
	return u.get(ctx, u.id, databaseKey(id, u.db.Dialect()))
}

// ByField is ByID for UsersConfig.Field. Names are compared byte for byte.
func (u *Users) ByField(ctx context.Context, value string) (user User, found bool, err error) {
	if u.byKey {
		return u.ByID(ctx, value)
	}
	return u.get(ctx, u.field, value)
}

func (u *Users) get(ctx context.Context, l *database.Lookup[User], key string) (User, bool, error) {
	if len(key) > maxUserKey || strings.IndexByte(key, 0) >= 0 || !utf8.ValidString(key) {
		return User{}, false, nil
	}
	user, found, err := l.Get(ctx, key)
	if errors.Is(err, database.ErrValue) {
		return User{}, false, nil
	}
	return user, found, err
}

// maxUserKey is the longest id or name that is looked up, in bytes: an e-mail address has 254 characters.
const maxUserKey = 1024

// Close releases the connections. Look-ups under way fail. It may be called again.
func (u *Users) Close() error { return u.db.Close() }

// djangoKey returns a primary key as Django writes it. Where a database has no type for UUIDs, UUIDField stores 32
// hexadecimal digits, and str(pk) has dashes.
func djangoKey(key string, d database.Dialect) string {
	if d.DashedUUID() || len(key) != 32 || strings.ToLower(key) != key {
		return key
	}
	if uuid, ok := parseUUID(key, true); ok {
		return uuid
	}
	return key
}

// databaseKey undoes djangoKey.
func databaseKey(key string, d database.Dialect) string {
	if d.DashedUUID() || len(key) != 36 || strings.ToLower(key) != key {
		return key
	}
	if uuid, ok := parseUUID(key, false); ok {
		return uuid
	}
	return key
}
