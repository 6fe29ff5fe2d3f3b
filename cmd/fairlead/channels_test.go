package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The sessions of dave and of bob, who is not active, in the fixture's database.
const daveSession, bobSession = "sessionid=b4m4r854elma6hjqztubwyorsg3ykuw9", "sessionid=xhhsd4pj230r64fj0hg0uyah23p6h19q"

// TestFromChannels starts each configuration of docs/from-channels.md, as it is, and lets everyone knock.
func TestFromChannels(t *testing.T) {
	t.Chdir(filepath.Join("..", "..")) // the configurations name the database as seen from there
	named := func(name string) string {
		t.Helper()
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"username": name, "exp": time.Now().Add(time.Hour).Unix()}).
			SignedString([]byte(fixtureSecret))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	header := func(name, value string) http.Header { return http.Header{name: {value}} }
	token := func(user string) http.Header { return header("Authorization", "Token "+keys[user]) }
	local := func(h http.Header) http.Header { return merged(h, header("Origin", "http://localhost:3000")) }
	type knock struct {
		query  string
		header http.Header
		status int
		name   string // "": anonymous, where the status is 101
	}
	for file, knocks := range map[string]map[string]knock{
		"header-and-session": {
			"a token":                 {"", token("alice"), 101, "alice"},
			"a session":               {"", header("Cookie", daveSession), 101, "dave"},
			"both":                    {"", merged(token("alice"), header("Cookie", daveSession)), 101, "alice"},
			"another scheme":          {"", merged(header("Authorization", "Bearer x"), header("Cookie", daveSession)), 101, "dave"},
			"a bad token":             {"", merged(token("unknown"), header("Cookie", daveSession)), 101, ""},
			"an inactive one":         {"", token("bob"), 101, ""},
			"that one's session":      {"", header("Cookie", bobSession), 101, ""},
			"nothing":                 {"", nil, 101, ""},
			"a page of another site":  {"", merged(token("alice"), header("Origin", "https://evil.test")), 403, ""},
			"two lines of that field": {"", http.Header{"Authorization": {"Token a", "Token b"}}, 400, ""},
		},
		"jwt-cookie": {
			"zoë":      {"", header("Cookie", "JWT="+named("zoë")), 101, "zoë"},
			"inactive": {"", header("Cookie", "JWT="+named("bob")), 101, ""},
			"nobody":   {"", header("Cookie", "JWT="+named("Alice")), 101, ""},
			"nothing":  {"", nil, 101, ""},
		},
		"query-origins": {
			"alice":      {"?token=" + keys["alice"], local(http.Header{}), 101, "alice"},
			"a bad one":  {"?token=x", local(http.Header{}), 101, ""},
			"nothing":    {"", local(http.Header{}), 101, ""},
			"no Origin":  {"?token=" + keys["alice"], nil, 403, ""},
			"a stranger": {"?token=" + keys["alice"], header("Origin", "https://evil.test"), 403, ""},
		},
	} {
		t.Run(file, func(t *testing.T) {
			s := startServe(t, []string{"FAIRLEAD_DRAIN_WINDOW=10ms"}, "--config", "cmd/fairlead/testdata/channels/"+file+".toml")
			for who, k := range knocks {
				c, err := tryDial(t, "ws://"+s.public+"/ws/app_1234"+k.query, k.header)
				if got := status(err); got != k.status {
					t.Errorf("%s: %v, want %d", who, err, k.status)
				}
				if err != nil {
					continue
				}
				var id struct {
					Name      string
					Anonymous bool
				}
				f, err := c.read()
				if err != nil {
					t.Errorf("%s: no greeting: %v", who, err)
					continue
				}
				if err := json.Unmarshal(f.Payload, &id); err != nil || id.Name != k.name || id.Anonymous != (k.name == "") {
					t.Errorf("%s: %+v, %v; want %q", who, id, err, k.name)
				}
			}
		})
	}
	t.Run("query-permission", func(t *testing.T) {
		s := startServe(t, []string{"FAIRLEAD_DRAIN_WINDOW=10ms"}, "--config", "cmd/fairlead/testdata/channels/query-permission.toml")
		for target, want := range map[string]int{
			"app_1234?token=" + keys["alice"]: 101, "app_1234?token=" + keys["carol"]: 403, "app_1234?token=" + keys["bob"]: 401,
			"app_1234": 401, "other_1234?token=" + keys["alice"]: 404,
		} {
			if _, err := tryDial(t, "ws://"+s.public+"/ws/"+target, nil); status(err) != want {
				t.Errorf("%.20s…: %v, want %d", target, err, want)
			}
		}
	})
}
