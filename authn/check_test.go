package authn

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// The fixtures are a real Django's tables; a database without them is found.
func TestCheck(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.sqlite3")
	writeDatabase(t, empty, `CREATE TABLE other (id integer)`)
	for _, tt := range []struct{ dsn, says string }{{sqliteDSN, ""}, {"sqlite:" + empty, "no such table"}} {
		v, err := NewDRFToken(t.Context(), DRFTokenConfig{DSN: tt.dsn})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { v.Close() })
		numbers := newSQL(t, SQLConfig{DSN: tt.dsn, Query: gateQuery, Params: map[string]string{"user": "int", "id": "int"}})
		texts := newSQL(t, SQLConfig{DSN: tt.dsn, Query: gateQuery + " AND :group <> :name", Params: map[string]string{"id": "uuid"}})
		for name, err := range map[string]error{
			"drf_token": v.Check(t.Context()), "numbers": numbers.Check(t.Context()), "texts": texts.Check(t.Context()),
		} {
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("%s on %s: %v, want %q", name, tt.dsn, err, tt.says)
			}
		}
	}
}

// A query that would let anybody in is found, whatever it looks like; one that asks for nobody may mean it.
func TestCheckAllowsEverybody(t *testing.T) {
	for query, everybody := range map[string]bool{
		"SELECT :user IS NOT NULL":                                                  true,
		"SELECT 1 + EXISTS(" + gateQuery + ")":                                      true,
		"SELECT CASE WHEN EXISTS(" + gateQuery + ") THEN 'yes' ELSE 'no' END":       true,
		"SELECT 1 FROM auth_user WHERE id > :user":                                  true,
		"SELECT EXISTS(" + gateQuery + ")":                                          false,
		"SELECT 1 FROM auth_user LIMIT 1":                                           false,
		"SELECT count(*) FROM gate_grant WHERE user_id = :user AND :group <> :name": false,
	} {
		err := newSQL(t, SQLConfig{DSN: sqliteDSN, Query: query}).Check(t.Context())
		if everybody != errors.Is(err, ErrAllowsEverybody) || !everybody && err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
}
