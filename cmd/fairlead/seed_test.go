package main

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The keys of the users in the fixture's database. bob is not active, carol has no permission for app 1234.
var keys = map[string]string{
	"alice": strings.Repeat("a1", 20), "zoë": strings.Repeat("2e", 20), "carol": strings.Repeat("ca", 20), "bob": strings.Repeat("b0", 20),
	"unknown": strings.Repeat("9", 40),
}

const fixtureSecret = "throwaway-fixture-secret-key-0123456789abcdefghijklmnop"

// signed returns a token as djangorestframework-jwt issues it.
func signed(t *testing.T, secret string, id int, expires time.Time) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"user_id": id, "exp": expires.Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestSeedCases starts each of the four configurations that README shows, as it is, and lets everyone knock.
func TestSeedCases(t *testing.T) {
	t.Chdir(filepath.Join("..", "..")) // the configurations name the database as seen from there
	header := func(key string) http.Header { return http.Header{"Authorization": {"Token " + key}} }
	origin := func(o string) http.Header { return http.Header{"Origin": {o}} }
	cookie := func(token string) http.Header { return http.Header{"Cookie": {"JWT=" + token}} }
	soon := time.Now().Add(time.Hour)
	type knock struct {
		path   string
		header http.Header
		want   int
	}
	for name, knocks := range map[string]map[string]knock{
		"header-token": {
			"alice":        {"/ws/app_1234", header(keys["alice"]), 101},
			"zoë":          {"/ws/app_1234/", header(keys["zoë"]), 101},
			"carol":        {"/ws/app_1234", header(keys["carol"]), 101},
			"bob":          {"/ws/app_1234", header(keys["bob"]), 401},
			"unknown":      {"/ws/app_1234", header(keys["unknown"]), 401},
			"none":         {"/ws/app_1234", nil, 401},
			"other scheme": {"/ws/app_1234", http.Header{"Authorization": {"Bearer " + keys["alice"]}}, 401},
			"other place":  {"/ws/app_1234?token=" + keys["alice"], nil, 401},
			"no group":     {"/ws/a%20b", header(keys["alice"]), 400},
			"no route":     {"/other", header(keys["alice"]), 404},
			"foreign page": {"/ws/app_1234", merged(header(keys["alice"]), origin("https://evil.test")), 403},
			"two lines":    {"/ws/app_1234", http.Header{"Authorization": {"Token " + keys["alice"], "Token " + keys["carol"]}}, 400},
		},
		"jwt-cookie": {
			"alice":        {"/ws/app_1234", cookie(signed(t, fixtureSecret, 1, soon)), 101},
			"zoë":          {"/ws/app_1234", cookie(signed(t, fixtureSecret, 6, soon)), 101},
			"carol":        {"/ws/app_1234", cookie(signed(t, fixtureSecret, 3, soon)), 101},
			"bob":          {"/ws/app_1234", cookie(signed(t, fixtureSecret, 2, soon)), 101}, // a JWT is good until it expires
			"expired":      {"/ws/app_1234", cookie(signed(t, fixtureSecret, 1, time.Unix(1e9, 0))), 401},
			"unknown":      {"/ws/app_1234", cookie(signed(t, "another-secret-0123456789-0123456789", 1, soon)), 401},
			"none":         {"/ws/app_1234", nil, 401},
			"other cookie": {"/ws/app_1234", http.Header{"Cookie": {"jwt=x"}}, 401},
			"foreign page": {"/ws/app_1234", merged(cookie(signed(t, fixtureSecret, 1, soon)), origin("https://evil.test")), 403},
		},
		"query-token-permission": {
			"alice":          {"/ws/app_1234?token=" + keys["alice"], nil, 101},
			"zoë":            {"/ws/app_1234?token=" + keys["zoë"], nil, 101},
			"carol":          {"/ws/app_1234?token=" + keys["carol"], nil, 403},
			"bob":            {"/ws/app_1234?token=" + keys["bob"], nil, 401},
			"unknown":        {"/ws/app_1234?token=" + keys["unknown"], nil, 401},
			"none":           {"/ws/app_1234", nil, 401},
			"alice's other":  {"/ws/app_1?token=" + keys["alice"], nil, 101},
			"zoë's other":    {"/ws/app_1?token=" + keys["zoë"], nil, 403},
			"other category": {"/ws/chat_1234?token=" + keys["alice"], nil, 404},
			"no id":          {"/ws/app_x?token=" + keys["alice"], nil, 403},
		},
		"query-token-origins": {
			"alice":     {"/ws/app_1234?token=" + keys["alice"], origin("http://localhost:3000"), 101},
			"subdomain": {"/ws/app_1234?token=" + keys["zoë"], origin("https://app.example.com"), 101},
			"bob":       {"/ws/app_1234?token=" + keys["bob"], origin("https://app.example.com"), 401},
			"carol":     {"/ws/app_1234?token=" + keys["carol"], origin("https://example.com"), 101},
			"unknown":   {"/ws/app_1234?token=" + keys["unknown"], origin("https://app.example.com"), 401},
			"none":      {"/ws/app_1234", origin("https://app.example.com"), 401},
			"foreign":   {"/ws/app_1234?token=" + keys["alice"], origin("https://example.com.evil.test"), 403},
			"no origin": {"/ws/app_1234?token=" + keys["alice"], nil, 403},
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("cmd", "fairlead", "testdata", "seed", name+".toml")
			s := startServe(t, []string{"FAIRLEAD_DRAIN_WINDOW=10ms"}, "--config", file)
			for who, k := range knocks {
				_, err := tryDial(t, "ws://"+s.public+k.path, k.header)
				if got := status(err); got != k.want {
					t.Errorf("%s: %v, want %d", who, err, k.want)
				}
			}
			for _, key := range keys {
				if strings.Contains(s.stderr.String(), key) {
					t.Error("a key is in the log")
				}
			}
			if strings.Contains(s.stderr.String(), "eyJ") {
				t.Error("a token is in the log")
			}
		})
	}
}

func merged(a, b http.Header) http.Header {
	for name, values := range b {
		a[name] = append(a[name], values...)
	}
	return a
}

// status returns what the server answered, 101 for no error.
func status(err error) int {
	if err == nil {
		return 101
	}
	if r, ok := errors.AsType[refused](err); ok {
		return int(r)
	}
	return 0
}

// TestSeedGroups: alice and zoë hear each other, and another group hears nothing of it.
func TestSeedGroups(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	s := startServe(t, []string{"FAIRLEAD_DRAIN_WINDOW=10ms"}, "--config", "cmd/fairlead/testdata/seed/query-token-permission.toml")
	url := "ws://" + s.public + "/ws/"
	alice, zoe := dial(t, url+"app_1234?token="+keys["alice"]), dial(t, url+"app_1234?token="+keys["zoë"])
	other := dial(t, url+"app_1?token="+keys["alice"])
	alice.send("from alice")
	alice.want("from alice")
	zoe.want("from alice")
	zoe.send("from zoë")
	alice.want("from zoë")
	zoe.want("from zoë")
	other.send("the other group")
	other.want("the other group")
}
