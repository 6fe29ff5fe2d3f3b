package main

import (
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// customTables has the tables of a site with a user model of its own.
const customTables = `
[[verifier]]
name = "custom"
kind = "drf_token"
dsn = "sqlite:../../authn/testdata/django_custom_user.sqlite3"
user_table = "accounts_user"
user_name = "email"
[[verifier]]
name = "everybody"
kind = "drf_token"
dsn = "sqlite:../../authn/testdata/django_custom_user.sqlite3"
user_table = "accounts_user"
user_name = ""
user_active = ""
[[verifier]]
name = "wrong"
kind = "drf_token"
dsn = "sqlite:../../authn/testdata/django_custom_user.sqlite3"
user_table = "accounts_user"
[[verifier]]
name = "away"
kind = "drf_token"
dsn = "mysql://fairlead:s3cr3t-pw@ADDRESS/django"
token_table = "other.tokens"
token_key = "the key"
token_user = "owner"
[[authorizer]]
name = "member"
kind = "sql"
dsn = "mysql://fairlead:s3cr3t-pw@ADDRESS/django"
query = "SELECT 1 FROM member WHERE user_id = :user AND name = :group AND BINARY name = :group"
params = { user = "uuid", group = "text" }
[[route]]
path = "/ws/{group}"
join = ["{group}"]
authorize = "member"
credential = [
	{ from = "query", name = "custom", verifier = "custom" },
	{ from = "query", name = "everybody", verifier = "everybody" },
	{ from = "query", name = "wrong", verifier = "wrong" },
	{ from = "query", name = "away", verifier = "away" },
]
`

// TestUserModel holds that the names of tables and columns reach the look-up, and that doctor finds what is wrong with them.
func TestUserModel(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	d := newDoctor(t, strings.ReplaceAll(customTables, "ADDRESS", address), nil)

	var f struct {
		Users []struct {
			ID, Email, Token string
			Active           bool
		}
	}
	b, err := os.ReadFile("../../authn/testdata/custom_user.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	for _, u := range f.Users {
		for _, c := range []struct {
			verifier, name string
			good           bool
		}{{"custom", u.Email, u.Active}, {"everybody", "", true}} {
			id, err := d.parts.verifiers[c.verifier].Verify(t.Context(), authn.Credential{Value: []byte(u.Token)})
			if c.good != (err == nil) || c.good && (id.Subject != u.ID || id.Name != c.name) {
				t.Errorf("%s, %s: got %+v, %v", c.verifier, u.Email, id, err)
			}
		}
	}

	d.databases(t.Context())
	for check, says := range map[string]string{
		"verifier custom": "ok: ", "verifier everybody": "ok: ", "verifier wrong": "fail: sqlite: SQL logic error: no such column: u.username",
		"verifier away": "fail: mysql: ", "authorizer member": "fail: mysql: ",
	} {
		if got := d.found(check); !strings.Contains(got, says) || strings.Contains(got, "s3cr3t") {
			t.Errorf("%s: %q, want %q", check, got, says)
		}
	}
}

// TestMySQLParams: a query for MySQL says the type of each value.
func TestMySQLParams(t *testing.T) {
	text := strings.ReplaceAll(strings.Replace(customTables, `user = "uuid", `, "", 1), "ADDRESS", "127.0.0.1:1")
	l, err := config.Load(config.Source{File: writeFile(t, "fairlead.toml", text), Getenv: getenv(nil)})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := assemble(t.Context(), l, nil, quiet(), nil); err == nil {
		a.Close()
		t.Error("no error")
	} else if !strings.Contains(err.Error(), `want params = { user = "int" }`) {
		t.Errorf("got %v", err)
	}
}
