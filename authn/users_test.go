package authn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
	"github.com/fairlead-ws/fairlead/session"
)

func newTestUsers(t testing.TB, c UsersConfig) *Users {
	t.Helper()
	c.Name = orDefault(c.Name, "users")
	u, err := NewUsers(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
	return u
}

// fixtureUsers are the users of fixtures.json.
type fixtureUsers struct {
	Users []struct {
		ID       int
		Username string
		Active   bool `json:"is_active"`
		Password string
	}
}

// testUsers is what every database must answer about the users of the fixture. The end-to-end tests run it against servers.
func testUsers(t *testing.T, dsn, file string) {
	var f fixtureUsers
	loadJSON(t, file, &f)
	if len(f.Users) < 7 {
		t.Fatalf("%s has %d users", file, len(f.Users))
	}
	u := newTestUsers(t, UsersConfig{DSN: dsn, Field: "username"})
	byMail := newTestUsers(t, UsersConfig{DSN: dsn, Field: "email"})
	for _, want := range f.Users {
		id := strconv.Itoa(want.ID)
		for how, get := range map[string]func() (User, bool, error){
			"id":   func() (User, bool, error) { return u.ByID(t.Context(), id) },
			"name": func() (User, bool, error) { return u.ByField(t.Context(), want.Username) },
		} {
			got, found, err := get()
			if err != nil || !found || got != (User{ID: id, Name: want.Username, Password: want.Password, Active: want.Active}) {
				t.Errorf("%s by %s: got %v, %q, active %v, %v, %v", want.Username, how, got, got.Name, got.Active, found, err)
			}
		}
	}
	for _, id := range []string{
		"5", "0", "-1", "01", "+1", " 1", "1 ", "1.0", "1e0", "1x", "x", "", "0x1", "١", "1\x00", "\xff", "NULL",
		"99999999999", "99999999999999999999999", strings.Repeat("1", maxUserKey), strings.Repeat("1", maxUserKey+1),
		"76eedf10-fdc5-4888-9a2a-5ca6d6f84f71",
	} {
		if got, found, err := u.ByID(t.Context(), id); found || err != nil {
			t.Errorf("id %.40q: got %v, %v", id, got, err)
		}
	}
	for _, name := range []string{"Alice", "ALICE", "alice ", " alice", "alic", "alicé", "zoe", "zoe\u0308", "ZOË", "", "gone", "' OR '1'='1", "1", "a\x00", "\xff", "😀"} {
		if got, found, err := u.ByField(t.Context(), name); found || err != nil {
			t.Errorf("name %q: got %v, %v", name, got, err)
		}
	}
	if got, found, err := byMail.ByField(t.Context(), "alice@example.com"); err != nil || !found || got.ID != "1" {
		t.Errorf("by address: got %v, %v, %v", got, found, err)
	}
	if got, found, err := byMail.ByField(t.Context(), "nobody@example.com"); found || err != nil {
		t.Errorf("an address of nobody: got %v, %v", got, err)
	}
	for name, u := range map[string]*Users{"name": u, "email": byMail} {
		if err := u.Check(t.Context()); err != nil {
			t.Errorf("Check, by %s: %v", name, err)
		}
	}
	missing := newTestUsers(t, UsersConfig{DSN: dsn, Model: UserModel{Table: "auth_user", PrimaryKey: "id", NameColumn: "nickname"}})
	if err := missing.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "nickname") {
		t.Errorf("Check of a column that is not there: %v", err)
	}
	if _, found, err := missing.ByID(t.Context(), "1"); err == nil || found {
		t.Errorf("a user of a column that is not there: %v, %v", found, err)
	}
	bare := newTestUsers(t, UsersConfig{DSN: dsn, Model: UserModel{Table: "auth_user", PrimaryKey: "id"}})
	if got, found, err := bare.ByID(t.Context(), "2"); err != nil || !found || got != (User{ID: "2", Active: true}) {
		t.Errorf("a user without name, password and is_active: got %v, %v, %v", got, found, err)
	}
	numbers := newTestUsers(t, UsersConfig{DSN: dsn, Model: UserModel{Table: "auth_user", PrimaryKey: "id", NameColumn: "id", ActiveColumn: "is_active"}})
	if got, _, err := numbers.ByID(t.Context(), "7"); err != nil || got.Name != "7" {
		t.Errorf("a name that is a number: got %q, %v", got.Name, err)
	}
}

func TestUsersSQLite(t *testing.T) { testUsers(t, sqliteDSN, "fixtures.json") }

// customDSN is a Django whose user model has a UUID as its primary key and an e-mail address as its name.
const customDSN = "sqlite:testdata/django_custom_user.sqlite3"

func customUser() UserModel {
	return UserModel{Table: "accounts_user", PrimaryKey: "id", NameColumn: "email", ActiveColumn: "is_active", PasswordColumn: "password"}
}

type customUsers struct {
	Users []struct {
		ID, Email, Token string
		Active           bool
	}
}

// testCustomUser is what every database must answer about them.
func testCustomUser(t *testing.T, dsn string) {
	var f customUsers
	loadJSON(t, "custom_user.json", &f)
	tokens := newDRFToken(t, DRFTokenConfig{DSN: dsn, Model: customUser(), AcceptInactive: true})
	refusing := newDRFToken(t, DRFTokenConfig{DSN: dsn, Model: customUser()})
	u := newTestUsers(t, UsersConfig{DSN: dsn, Model: customUser(), Field: "email"})
	for _, want := range f.Users {
		id, err := verify(t, tokens, want.Token)
		if err != nil || id.Subject != want.ID || id.Name != want.Email {
			t.Errorf("token of %s: got %+v, %v", want.Email, id, err)
		}
		if _, err := verify(t, refusing, want.Token); want.Active != (err == nil) {
			t.Errorf("%s, active %v: %v", want.Email, want.Active, err)
		}
		for _, get := range []func() (User, bool, error){
			func() (User, bool, error) { return u.ByID(t.Context(), want.ID) },
			func() (User, bool, error) { return u.ByField(t.Context(), want.Email) },
		} {
			if got, found, err := get(); err != nil || !found || got.ID != want.ID || got.Name != want.Email || got.Active != want.Active || got.Password == "" {
				t.Errorf("%s: got %v, %q, active %v, %v, %v", want.ID, got, got.Name, got.Active, found, err)
			}
		}
	}
	ann := f.Users[0].ID
	for _, id := range []string{
		strings.ReplaceAll(ann, "-", ""), strings.ToUpper(ann), "{" + ann + "}", ann[:35], ann + "0", "urn:uuid:" + ann, "1", "x",
		"00000000-0000-0000-0000-000000000000",
	} {
		if got, found, err := u.ByID(t.Context(), id); found || err != nil {
			t.Errorf("id %q: got %v, %v", id, got, err)
		}
	}
	if got, found, err := u.ByField(t.Context(), "Ann@example.com"); found || err != nil {
		t.Errorf("a name in another case: got %v, %v", got, err)
	}
	// The authorizer binds the subject as a UUID in the database's form.
	member := newSQL(t, SQLConfig{
		DSN: dsn, Query: "SELECT 1 FROM accounts_user WHERE id = :user AND email = :name",
		Params: map[string]string{"user": "uuid", "name": "text"},
	})
	id, err := verify(t, tokens, f.Users[0].Token)
	if err != nil {
		t.Fatal(err)
	}
	if err := authorize(t.Context(), member, id, must(session.ParseGroup("a")), nil); err != nil {
		t.Error(err)
	}
}

func TestCustomUserSQLite(t *testing.T) { testCustomUser(t, customDSN) }

// TestKeysThatOnlyLookLikeUUIDs: a CharField of 32 digits is no UUIDField, and str(pk) has no dashes then.
func TestKeysThatOnlyLookLikeUUIDs(t *testing.T) {
	const digits = "76eedf10fdc548889a2a5ca6d6f84f71"
	path := filepath.Join(t.TempDir(), "db")
	writeDatabase(t, path, `CREATE TABLE auth_user (id varchar(32) PRIMARY KEY, username varchar(150), password text, is_active bool);
		INSERT INTO auth_user VALUES ('`+digits+`', NULL, 'x', NULL)`)
	u := newTestUsers(t, UsersConfig{DSN: "sqlite:" + path})
	got, found, err := u.ByID(t.Context(), digits)
	if err != nil || !found || got.ID != digits || got.Name != "" || got.Active {
		t.Errorf("got %v, %q, active %v, %v, %v", got, got.Name, got.Active, found, err)
	}
	if _, found, err := u.ByID(t.Context(), must(dashed(digits))); found || err != nil {
		t.Errorf("with dashes: %v, %v", found, err)
	}
}

func dashed(digits string) (string, error) {
	uuid, ok := parseUUID(digits, true)
	if !ok {
		return "", errors.New("no UUID")
	}
	return uuid, nil
}

// TestUsersWithTheSameName: nobody can say which of them it is.
func TestUsersWithTheSameName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	writeDatabase(t, path, `CREATE TABLE auth_user (id integer PRIMARY KEY, username text, password text, is_active bool, email text);
		INSERT INTO auth_user VALUES (1, 'a', 'x', 1, 'same@example.com'), (2, 'b', 'x', 1, 'same@example.com')`)
	u := newTestUsers(t, UsersConfig{DSN: "sqlite:" + path, Field: "email"})
	if got, found, err := u.ByField(t.Context(), "same@example.com"); found || !errors.Is(err, database.ErrAmbiguous) {
		t.Errorf("got %v, %v, %v", got, found, err)
	}
}

// TestUsersComeLater: a column is asked about again while its table is not there.
func TestUsersComeLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	writeDatabase(t, path, "CREATE TABLE other (id integer)")
	u := newTestUsers(t, UsersConfig{DSN: "sqlite:" + path, Model: customUser()})
	if _, found, err := u.ByID(t.Context(), "1"); found || err == nil {
		t.Errorf("without a table: %v, %v", found, err)
	}
	writeDatabase(t, path, `CREATE TABLE accounts_user (id char(32) PRIMARY KEY, email text, password text, is_active bool);
		INSERT INTO accounts_user VALUES ('76eedf10fdc548889a2a5ca6d6f84f71', 'ann', 'x', 1)`)
	const id = "76eedf10-fdc5-4888-9a2a-5ca6d6f84f71"
	if got, found, err := u.ByID(t.Context(), id); err != nil || !found || got.ID != id {
		t.Errorf("got %v, %v, %v", got, found, err)
	}
}

func TestUserHidesItsHash(t *testing.T) {
	u := User{ID: "1", Name: "alice", Password: "s3cr3t-hash", Active: true}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("user", "user", u)
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s", u, u, u, u), log.String()} {
		if strings.Contains(s, "s3cr3t") || !strings.Contains(s, "user 1") {
			t.Errorf("got %s", s)
		}
	}
}

func TestNewUsersRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		config UsersConfig
		want   string
	}{
		{"no dsn", UsersConfig{}, "no scheme"},
		{"no table", UsersConfig{DSN: sqliteDSN, Model: UserModel{PrimaryKey: "id"}}, "user model"},
		{"no key", UsersConfig{DSN: sqliteDSN, Model: UserModel{Table: "t"}}, "user model"},
		{"a column of another table", UsersConfig{DSN: sqliteDSN, Model: UserModel{Table: "t", PrimaryKey: "t.id"}}, `"t.id"`},
		{"a NUL", UsersConfig{DSN: sqliteDSN, Model: UserModel{Table: "t", PrimaryKey: "id", NameColumn: "a\x00"}}, "user model"},
		{"field", UsersConfig{DSN: sqliteDSN, Field: "t.email"}, `"t.email"`},
		{"MySQL without a database", UsersConfig{DSN: "mysql://u:s3cr3t-pw@h"}, "no database"},
	} {
		u, err := NewUsers(t.Context(), c.config)
		if err == nil {
			u.Close()
			t.Errorf("%s: no error", c.name)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error %q does not say %q", c.name, err, c.want)
		}
		wantNoSecret(t, err, "s3cr3t-pw")
	}
}

// TestDatabasesAreShared: those with the same DSN hold the same connections, until the last is closed.
func TestDatabasesAreShared(t *testing.T) {
	var d Databases
	one := must(NewDRFToken(t.Context(), DRFTokenConfig{DSN: sqliteDSN, Databases: &d}))
	two := must(NewUsers(t.Context(), UsersConfig{Name: "two", DSN: sqliteDSN, Databases: &d}))
	three := must(NewSQL(SQLConfig{DSN: sqliteDSN, Databases: &d, Query: "SELECT 1"}))
	if _, err := verify(t, one, aliceKey); err != nil {
		t.Error(err)
	}
	if err := errors.Join(one.Close(), one.Close(), three.Close()); err != nil {
		t.Error(err)
	}
	if _, err := verify(t, one, aliceKey); !errors.Is(err, ErrUnavailable) || !errors.Is(err, database.ErrClosed) {
		t.Errorf("after its close: %v", err)
	}
	if got, found, err := two.ByID(context.Background(), "1"); err != nil || !found || got.Name != "alice" {
		t.Errorf("the others: got %v, %v, %v", got, found, err)
	}
	if err := two.Close(); err != nil {
		t.Error(err)
	}
	again := newTestUsers(t, UsersConfig{DSN: sqliteDSN, Databases: &d})
	if _, found, err := again.ByID(t.Context(), "1"); err != nil || !found {
		t.Errorf("opened again: %v, %v", found, err)
	}
}
