package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/authn/django"
)

// djangoConfig has a route /NAME/{group} for each way in which a site may keep its sessions, and for each place of a value.
const djangoConfig = `
[drain]
window = "10ms"
[[verifier]]
name = "drf"
kind = "drf_token"
dsn = "sqlite:testdata/django.sqlite3"
%[1]s
[[authorizer]]
name = "link"
kind = "signed"
secret_file = "%[2]s/secret"
salt = "chat"
[[authorizer]]
name = "fresh"
kind = "signed"
secret = "new"
secret_fallbacks_file = "%[2]s/fallbacks"
max_age = "1h"
value_in = "header"
value_name = "X-Grant"
[[authorizer]]
name = "plain"
kind = "signed"
format = "hmac"
secret_file = "%[2]s/secret"
value_in = "subprotocol"
value_name = "grant."
[[authorizer]]
name = "inacookie"
kind = "signed"
secret_file = "%[2]s/secret"
value_in = "cookie"
value_name = "seat"
%[3]s
`

// djangoSite writes the configuration and what it names, and returns its file.
func djangoSite(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	put("secret", fixtureSecret+"\n")
	put("fallbacks", "\nnewer\n"+fixtureSecret+"\r\n\n")
	const name = "sessionidiahvj7aob5rywsjzabnyk84seeyaqyb3"
	content, err := os.ReadFile("../../authn/testdata/session_files/" + name)
	if err != nil {
		t.Fatal(err)
	}
	put("visitor"+strings.TrimPrefix(name, "sessionid"), string(content))
	var verifiers, routes strings.Builder
	for name, keys := range map[string]string{
		"site":     "",
		"legacy":   "legacy = true",
		"cookies":  `engine = "signed_cookies"`,
		"files":    `engine = "file"` + "\nsession_dir = \"" + dir + `"` + "\nsession_cookie = \"visitor\"",
		"backends": `backends = ["mysite.backends.Other"]`,
		"inactive": `inactive_users = "accept"`,
		"zone":     `time_zone = "Europe/Berlin"`,
		"nowhere":  `session_table = "nowhere"`,
	} {
		fmt.Fprintf(&verifiers, "[[verifier]]\nname = %q\nkind = \"django_session\"\ndsn = \"sqlite:testdata/django.sqlite3\"\nsecret = \"new\"\n"+
			"secret_fallbacks_file = \"%s/fallbacks\"\ncache_ttl = \"0s\"\n%s\n", name, dir, keys)
		fmt.Fprintf(&routes, "[[route]]\npath = \"/%s/{group}\"\njoin = [\"{group}\"]\ngreet = true\ncredential = [\n"+
			"{ from = \"header\", name = \"Authorization\", scheme = \"Token\", verifier = \"drf\" },\n"+
			"{ from = \"cookie\", name = \"sessionid\", verifier = %q },\n]\n", name, name)
	}
	for _, name := range []string{"link", "fresh", "plain", "inacookie"} {
		fmt.Fprintf(&routes, "[[route]]\npath = \"/%s/{group}\"\njoin = [\"{group}\"]\ngreet = true\nanonymous = \"allow\"\nauthorize = %q\ncredential = [\n"+
			"{ from = \"query\", name = \"token\", verifier = \"drf\" }]\n", name, name)
	}
	return put("fairlead.toml", fmt.Sprintf(djangoConfig, &verifiers, dir, &routes))
}

// fixtureSessions are the sessions of the fixtures, by their names.
func fixtureSessions(t *testing.T) (table, cookies map[string]struct{ SessionID string }) {
	t.Helper()
	var f struct {
		DB     map[string]struct{ SessionID string } `json:"sessions_db"`
		Signed map[string]struct{ SessionID string } `json:"sessions_signed_cookies"`
	}
	b, err := os.ReadFile("../../authn/testdata/fixtures.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f.DB, f.Signed
}

// TestDjangoSites holds that each key of sessions and signed values reaches the part that it is for.
func TestDjangoSites(t *testing.T) {
	s := startServe(t, nil, "--config", djangoSite(t))
	table, cookies := fixtureSessions(t)
	session := func(name string) http.Header { return http.Header{"Cookie": {"sessionid=" + table[name].SessionID}} }
	signer := func(salt, secret string) func(content string) string {
		d, err := django.NewSigner(django.SignerConfig{Salt: salt, Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		return func(content string) string { return d.Dumps([]byte(content), time.Now()) }
	}
	chat, usual := signer("chat", fixtureSecret), signer("fairlead", fixtureSecret)
	const forAlice, forAll = `{"group":"app_*","subject":1,"exp":3976214400}`, `{"group":["app_1"]}`
	// base64url of {"group":"app_1","exp":3976214400}, and its HMAC, made with openssl.
	const plain = "eyJncm91cCI6ImFwcF8xIiwiZXhwIjozOTc2MjE0NDAwfQ.a2950487d8b4b47b4507c3dd4d1ebbce8e876418d846e212eda3c0d17b8393fc"
	for name, c := range map[string]struct {
		path   string
		header http.Header
		want   int
		greet  string
	}{
		"logged in":            {"/site/g", session("alice_login"), 101, `"subject":"1","name":"alice","source":"site"`},
		"a token first":        {"/site/g", http.Header{"Authorization": {"Token " + keys["zoë"]}, "Cookie": session("alice_login")["Cookie"]}, 101, `"name":"zoë","source":"drf"`},
		"a bad token first":    {"/site/g", http.Header{"Authorization": {"Token " + keys["unknown"]}, "Cookie": session("alice_login")["Cookie"]}, 401, ""},
		"nobody logged in":     {"/site/g", session("anonymous"), 401, ""},
		"over":                 {"/site/g", session("alice_expired"), 401, ""},
		"inactive":             {"/site/g", session("bob_inactive"), 401, ""},
		"inactive, accepted":   {"/inactive/g", session("bob_inactive"), 101, `"name":"bob"`},
		"old form":             {"/site/g", session("alice_legacy_format"), 401, ""},
		"old form, legacy":     {"/legacy/g", session("alice_legacy_format"), 101, `"name":"alice"`},
		"in a cookie":          {"/cookies/g", http.Header{"Cookie": {"sessionid=" + cookies["alice"].SessionID}}, 101, `"name":"alice"`},
		"in a tampered cookie": {"/cookies/g", http.Header{"Cookie": {"sessionid=" + cookies["alice_tampered"].SessionID}}, 401, ""},
		"in a file":            {"/files/g", http.Header{"Cookie": {"sessionid=iahvj7aob5rywsjzabnyk84seeyaqyb3"}}, 101, `"name":"alice"`},
		"in no file":           {"/files/g", session("alice_login"), 401, ""},
		"other backends":       {"/backends/g", session("alice_login"), 401, ""},
		"in another zone":      {"/zone/g", session("alice_login"), 101, `"expires":"2095-12-31T23:00:00Z"`},
		"no table":             {"/nowhere/g", session("alice_login"), 503, ""},

		"a link":             {"/link/app_1?token=" + keys["alice"] + "&grant=" + url.QueryEscape(chat(forAlice)), nil, 101, `"name":"alice"`},
		"somebody's link":    {"/link/app_1?token=" + keys["zoë"] + "&grant=" + url.QueryEscape(chat(forAlice)), nil, 403, ""},
		"a link for no one":  {"/link/app_1?grant=" + url.QueryEscape(chat(forAlice)), nil, 403, ""},
		"another group":      {"/link/feed_1?token=" + keys["alice"] + "&grant=" + url.QueryEscape(chat(forAlice)), nil, 403, ""},
		"another salt":       {"/link/app_1?token=" + keys["alice"] + "&grant=" + url.QueryEscape(usual(forAlice)), nil, 403, ""},
		"for ever":           {"/link/app_1?grant=" + url.QueryEscape(chat(forAll)), nil, 403, ""},
		"no link":            {"/link/app_1?token=" + keys["alice"], nil, 403, ""},
		"fresh, for all":     {"/fresh/app_1", http.Header{"X-Grant": {usual(forAll)}}, 101, `"anonymous":true`},
		"fresh, new secret":  {"/fresh/app_1", http.Header{"X-Grant": {signer("fairlead", "new")(forAll)}}, 101, ""},
		"fresh, bad secret":  {"/fresh/app_1", http.Header{"X-Grant": {signer("fairlead", "old")(forAll)}}, 403, ""},
		"plain":              {"/plain/app_1", http.Header{"Sec-WebSocket-Protocol": {"grant." + plain}}, 101, ""},
		"plain, other group": {"/plain/app_2", http.Header{"Sec-WebSocket-Protocol": {"grant." + plain}}, 403, ""},
		"a seat":             {"/inacookie/app_1", http.Header{"Cookie": {"seat=" + usual(`{"group":"app_1","exp":3976214400}`)}}, 101, ""},
	} {
		t.Run(name, func(t *testing.T) {
			client, err := tryDial(t, "ws://"+s.public+c.path, c.header)
			if got := status(err); got != c.want {
				t.Fatalf("%v, want %d", err, c.want)
			}
			if c.greet == "" {
				return
			}
			if f, err := client.read(); err != nil || !strings.Contains(string(f.Payload), c.greet) {
				t.Errorf("the greeting is %q, %v; want %s in it", f.Payload, err, c.greet)
			}
		})
	}
	for _, secret := range []string{table["alice_login"].SessionID, cookies["alice"].SessionID, fixtureSecret, keys["alice"], plain, "eyJncm91cCI"} {
		if strings.Contains(s.stderr.String(), secret) {
			t.Error("a credential, a value or a secret is in the log")
		}
	}
}
