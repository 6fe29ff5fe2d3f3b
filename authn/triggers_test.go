package authn

import (
	"slices"
	"strings"
	"testing"
)

func TestTriggersSQL(t *testing.T) {
	triggers := Triggers{
		Users: []UserModel{
			{},
			{Table: "auth_user", PrimaryKey: "id", ActiveColumn: "is_active"}, // by another verifier
			{Table: `app."odd`, PrimaryKey: "Id", ActiveColumn: "it's"},
		},
		Tokens:      []TokenModel{{}, {}},
		Sessions:    []string{"django_session"},
		Permissions: []Permission{{"gate_grant", "user_id"}, {"gate_grant", "granted_by"}},
	}
	sql, err := triggers.SQL()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"BEGIN;\n\nCREATE OR REPLACE FUNCTION fairlead_auth_changed()",
		`
DROP TRIGGER IF EXISTS "fairlead_auth_user" ON "auth_user";
CREATE TRIGGER "fairlead_auth_user" AFTER DELETE ON "auth_user" FOR EACH ROW
    EXECUTE FUNCTION fairlead_auth_changed('user', 'id');
`, `
DROP TRIGGER IF EXISTS "fairlead_auth_user_truncate" ON "auth_user";
CREATE TRIGGER "fairlead_auth_user_truncate" AFTER TRUNCATE ON "auth_user" FOR EACH STATEMENT
    EXECUTE FUNCTION fairlead_auth_changed('user', 'id');
`, `
CREATE TRIGGER "fairlead_auth_user_update" AFTER UPDATE ON "auth_user" FOR EACH ROW
    WHEN (OLD."id" IS DISTINCT FROM NEW."id" OR OLD."username" IS DISTINCT FROM NEW."username" OR OLD."is_active" IS DISTINCT FROM NEW."is_active" OR OLD."password" IS DISTINCT FROM NEW."password")
`, `
CREATE TRIGGER "fairlead_auth_user_update" AFTER UPDATE ON "app"."""odd" FOR EACH ROW
    WHEN (OLD."Id" IS DISTINCT FROM NEW."Id" OR OLD."it's" IS DISTINCT FROM NEW."it's")
    EXECUTE FUNCTION fairlead_auth_changed('user', 'Id');
`, `
CREATE TRIGGER "fairlead_auth_token" AFTER INSERT OR UPDATE OR DELETE ON "authtoken_token" FOR EACH ROW
    EXECUTE FUNCTION fairlead_auth_changed('token', 'key');
`, `
CREATE TRIGGER "fairlead_auth_session_update" AFTER UPDATE ON "django_session" FOR EACH ROW
    WHEN (OLD.session_key IS DISTINCT FROM NEW.session_key OR OLD.session_data IS DISTINCT FROM NEW.session_data OR NEW.expire_date < OLD.expire_date)
    EXECUTE FUNCTION fairlead_auth_changed('session', 'session_key');
`, `
CREATE TRIGGER "fairlead_auth_permission_granted_by" AFTER INSERT OR UPDATE OR DELETE ON "gate_grant" FOR EACH ROW
    EXECUTE FUNCTION fairlead_auth_changed('user', 'granted_by');
`,
		"\nCOMMIT;\n",
	} {
		if !strings.Contains(sql, want) {
			t.Errorf("there is no\n%s\nin\n%s", want, sql)
		}
	}
	made := strings.Count(sql, "CREATE TRIGGER")
	if made != 15 || strings.Count(sql, "DROP TRIGGER IF EXISTS") != made {
		t.Errorf("%d triggers are made, %d dropped before", made, strings.Count(sql, "DROP TRIGGER IF EXISTS"))
	}
	drop := must(triggers.DropSQL())
	for line := range strings.Lines(sql) {
		if strings.HasPrefix(line, "DROP") && !strings.Contains(drop, line) {
			t.Errorf("what is made is not dropped: %s", line)
		}
	}
	if strings.Count(drop, "DROP TRIGGER") != made || !strings.HasSuffix(drop, `
DO $fairlead$
BEGIN
    DROP FUNCTION IF EXISTS fairlead_auth_changed();
EXCEPTION WHEN dependent_objects_still_exist THEN
    RAISE NOTICE 'fairlead_auth_changed() stays: triggers of other tables call it';
END
$fairlead$;

COMMIT;
`) {
		t.Errorf("got %s", drop)
	}
	if tables := must(triggers.Tables()); !slices.Equal(tables, []string{`"auth_user"`, `"app"."""odd"`, `"authtoken_token"`, `"django_session"`, `"gate_grant"`}) {
		t.Errorf("the tables are %s", tables)
	}
}

func TestTriggersRefuse(t *testing.T) {
	for name, triggers := range map[string]Triggers{
		"nothing":       {},
		"empty table":   {Sessions: []string{""}},
		"NUL":           {Tokens: []TokenModel{{Table: "t", KeyColumn: "a\x00"}}},
		"dotted column": {Users: []UserModel{{Table: "t", PrimaryKey: "t.id", ActiveColumn: "a"}}},
		"no column":     {Permissions: []Permission{{Table: "t"}}},
		"two keys":      {Users: []UserModel{{}, {Table: "auth_user", PrimaryKey: "other", ActiveColumn: "a"}}},
	} {
		_, err1 := triggers.SQL()
		_, err2 := triggers.DropSQL()
		_, err3 := triggers.Tables()
		if err1 == nil || err2 == nil || err3 == nil {
			t.Errorf("%s: %v, %v, %v", name, err1, err2, err3)
		}
	}
}
