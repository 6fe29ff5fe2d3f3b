package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/golang-jwt/jwt/v5"
)

// These tests hold that each key of the configuration reaches the part that it is for.

const keysSecret = "a-secret-of-enough-bytes-0123456789-abcdef"

// claims makes a token, good for an hour unless the claims say otherwise.
func claims(t *testing.T, c jwt.MapClaims) string {
	t.Helper()
	if _, ok := c["exp"]; !ok {
		c["exp"] = time.Now().Add(time.Hour).Unix()
	}
	if c["exp"] == nil {
		delete(c, "exp")
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(keysSecret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// perVerifier is a configuration with a route /NAME/{group} for each verifier, which has the keys given.
func perVerifier(verifiers map[string]string) string {
	var b strings.Builder
	b.WriteString("[drain]\nwindow = \"10ms\"\n[[authorizer]]\nname = \"grants\"\nkind = \"grants\"\n")
	for name, keys := range verifiers {
		fmt.Fprintf(&b, "[[verifier]]\nname = %q\nkind = \"jwt\"\nalgorithms = [\"HS256\"]\nsecret = %q\n%s\n", name, keysSecret, keys)
		fmt.Fprintf(&b, "[[route]]\npath = \"/%s/{group}\"\njoin = [\"{group}\"]\ngreet = true\n", name)
		if name == "grants" {
			b.WriteString("authorize = \"grants\"\n")
		}
		fmt.Fprintf(&b, "credential = [{ from = \"query\", name = \"token\", verifier = %q }]\n", name)
	}
	return b.String()
}

func TestVerifierKeys(t *testing.T) {
	s := startServe(t, nil, "--config", writeFile(t, "fairlead.toml", perVerifier(map[string]string{
		"plain":    "",
		"issuer":   `issuer = "me"`,
		"audience": `audience = "us"`,
		"subject":  `subject_claim = "sub"`,
		"name":     `name_claim = "nick"`,
		"grants":   `groups_claim = "allowed"`,
		"require":  `require = { token_type = "access", level = 2 }`,
		"forever":  `require_expiry = false`,
		"leeway":   `leeway = "30s"`,
	})))
	for name, tt := range map[string]struct {
		path  string
		token string
		want  int
		greet string // part of the greeting
	}{
		"plain":             {"/plain/g", claims(t, jwt.MapClaims{"user_id": 7, "username": "zoë"}), 101, `"subject":"7","name":"zoë","source":"plain"`},
		"without issuer":    {"/issuer/g", claims(t, jwt.MapClaims{"user_id": 7}), 401, ""},
		"issuer":            {"/issuer/g", claims(t, jwt.MapClaims{"user_id": 7, "iss": "me"}), 101, ""},
		"unasked audience":  {"/plain/g", claims(t, jwt.MapClaims{"user_id": 7, "aud": "us"}), 401, ""},
		"audience":          {"/audience/g", claims(t, jwt.MapClaims{"user_id": 7, "aud": "us"}), 101, ""},
		"other audience":    {"/audience/g", claims(t, jwt.MapClaims{"user_id": 7, "aud": "them"}), 401, ""},
		"subject":           {"/subject/g", claims(t, jwt.MapClaims{"sub": "u-1"}), 101, `"subject":"u-1"`},
		"no subject":        {"/subject/g", claims(t, jwt.MapClaims{"user_id": 7}), 401, ""},
		"name":              {"/name/g", claims(t, jwt.MapClaims{"user_id": 7, "nick": "al"}), 101, `"name":"al"`},
		"granted":           {"/grants/app_1", claims(t, jwt.MapClaims{"user_id": 7, "allowed": []string{"app_*"}}), 101, ""},
		"not granted":       {"/grants/feed", claims(t, jwt.MapClaims{"user_id": 7, "allowed": []string{"app_*"}}), 403, ""},
		"other claim":       {"/grants/app_1", claims(t, jwt.MapClaims{"user_id": 7, "groups": []string{"app_*"}}), 403, ""},
		"required":          {"/require/g", claims(t, jwt.MapClaims{"user_id": 7, "token_type": "access", "level": 2}), 101, ""},
		"required, missing": {"/require/g", claims(t, jwt.MapClaims{"user_id": 7, "token_type": "access"}), 401, ""},
		"required, other":   {"/require/g", claims(t, jwt.MapClaims{"user_id": 7, "token_type": "refresh", "level": 2}), 401, ""},
		"for ever":          {"/forever/g", claims(t, jwt.MapClaims{"user_id": 7, "exp": nil}), 101, ""},
		"not for ever":      {"/plain/g", claims(t, jwt.MapClaims{"user_id": 7, "exp": nil}), 401, ""},
		"just expired":      {"/leeway/g", claims(t, jwt.MapClaims{"user_id": 7, "exp": time.Now().Add(-10 * time.Second).Unix()}), 101, ""},
		"expired":           {"/plain/g", claims(t, jwt.MapClaims{"user_id": 7, "exp": time.Now().Add(-10 * time.Second).Unix()}), 401, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := tryDial(t, "ws://"+s.public+tt.path+"?token="+tt.token, nil)
			if got := status(err); got != tt.want {
				t.Fatalf("%v, want %d", err, tt.want)
			}
			if tt.greet == "" {
				return
			}
			if f, err := c.read(); err != nil || !strings.Contains(string(f.Payload), tt.greet) {
				t.Errorf("the greeting is %q, %v; want %s in it", f.Payload, err, tt.greet)
			}
		})
	}
}

const routeKeys = `
[drain]
window = "10ms"
[[verifier]]
name = "jwt"
kind = "jwt"
algorithms = ["HS256"]
secret_file = "%s"
[[route]]
path = "/echo"
join = ["all"]
anonymous = "allow"
on_message = "echo"
[[route]]
path = "/ignore"
join = ["all"]
anonymous = "allow"
on_message = "ignore"
[[route]]
path = "/all"
join = ["all", "some"]
anonymous = "allow"
[[route]]
path = "/room/{group}/{seat}"
category = "room"
join = ["{group.id}.{seat}", "all"]
anonymous = "allow"
[[route]]
path = "/pages"
origins = ["https://a.test"]
anonymous = "allow"
[[route]]
path = "/programs"
origins = ["https://a.test"]
no_origin = "allow"
anonymous = "allow"
[[route]]
path = "/invalid"
invalid = "anonymous"
greet = true
credential = [{ from = "cookie", name = "JWT", verifier = "jwt" }]
[[route]]
path = "/browser"
subprotocols = ["one", "two"]
greet = true
credential = [{ from = "subprotocol", prefix = "bearer.", verifier = "jwt" }]
`

func TestRouteKeys(t *testing.T) {
	s := startServe(t, nil, "--config", writeFile(t, "fairlead.toml", fmt.Sprintf(routeKeys, writeFile(t, "secret", keysSecret+"\n"))))
	url := "ws://" + s.public
	t.Run("on_message and join", func(t *testing.T) {
		echo, ignore, all, room := dial(t, url+"/echo"), dial(t, url+"/ignore"), dial(t, url+"/all"), dial(t, url+"/room/room_4/b")
		everyone := []*client{echo, ignore, all, room}
		echo.send("only me")
		echo.want("only me")
		ignore.send("nobody")
		all.send("all")
		for _, c := range everyone {
			c.want("all")
		}
		all.want("all") // once for each of its groups
		neighbour := dial(t, url+"/room/room_4/b")
		neighbour.send("seat")
		neighbour.want("seat", "seat")
		room.want("seat", "seat") // as a member of 4.b and of all
		all.want("seat")
	})
	t.Run("category", func(t *testing.T) {
		if _, err := tryDial(t, url+"/room/hall_4/b", nil); !errors.Is(err, refused(404)) {
			t.Errorf("%v, want 404", err)
		}
	})
	t.Run("origins", func(t *testing.T) {
		for _, tt := range []struct {
			path, origin string
			want         int
		}{
			{"/pages", "https://a.test", 101},
			{"/pages", "https://b.test", 403},
			{"/pages", "", 403},
			{"/programs", "https://b.test", 403},
			{"/programs", "", 101},
			{"/all", "", 101},
			{"/all", "http://" + s.public, 101},
			{"/all", "https://a.test", 403},
		} {
			header := http.Header{}
			if tt.origin != "" {
				header.Set("Origin", tt.origin)
			}
			if _, err := tryDial(t, url+tt.path, header); status(err) != tt.want {
				t.Errorf("%s from %q: %v, want %d", tt.path, tt.origin, err, tt.want)
			}
		}
	})
	t.Run("invalid", func(t *testing.T) {
		c, err := tryDial(t, url+"/invalid", http.Header{"Cookie": {"JWT=x.y.z"}})
		if err != nil {
			t.Fatal(err)
		}
		if f, err := c.read(); err != nil || !strings.Contains(string(f.Payload), `"anonymous":true`) {
			t.Errorf("the greeting is %q, %v", f.Payload, err)
		}
		if _, err := tryDial(t, url+"/invalid", nil); !errors.Is(err, refused(401)) {
			t.Errorf("without any credential: %v, want 401", err)
		}
	})
	t.Run("subprotocols", func(t *testing.T) {
		d := ws.Dialer{Protocols: []string{"bearer." + claims(t, jwt.MapClaims{"user_id": 1}), "two", "one"}}
		conn, _, hs, err := d.Dial(t.Context(), url+"/browser")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if hs.Protocol != "two" {
			t.Errorf("the subprotocol is %q, want the first that the client offers", hs.Protocol)
		}
	})
}

func TestInactiveUsers(t *testing.T) {
	config := "[drain]\nwindow = \"10ms\"\n" +
		"[[verifier]]\nname = \"drf\"\nkind = \"drf_token\"\ndsn = \"sqlite:testdata/django.sqlite3\"\ninactive_users = \"accept\"\n" +
		"[[route]]\npath = \"/ws\"\ngreet = true\ncredential = [{ from = \"query\", name = \"token\", verifier = \"drf\" }]\n"
	s := startServe(t, nil, "--config", writeFile(t, "fairlead.toml", config))
	greeted(t, "ws://"+s.public+"/ws?token="+keys["bob"])
}

func TestLimitKeys(t *testing.T) {
	file := writeFile(t, "fairlead.toml", anyone)
	limited := func(t *testing.T, env ...string) *serving { return startServe(t, env, "--config", file) }
	t.Run("connections", func(t *testing.T) {
		s := limited(t, "FAIRLEAD_LIMITS_CONNECTIONS=1")
		dial(t, "ws://"+s.public+"/ws/a")
		if _, err := tryDial(t, "ws://"+s.public+"/ws/a", nil); !errors.Is(err, refused(503)) {
			t.Errorf("the second connection: %v, want 503", err)
		}
	})
	t.Run("message_bytes", func(t *testing.T) {
		s := limited(t, "FAIRLEAD_LIMITS_MESSAGE_BYTES=10")
		c := dial(t, "ws://"+s.public+"/ws/a")
		c.send("0123456789")
		c.want("0123456789")
		c.send("0123456789a")
		c.wantClosed(1009)
	})
	t.Run("large messages", func(t *testing.T) { // larger than NATS takes unless it is told
		s := limited(t, "FAIRLEAD_LIMITS_MESSAGE_BYTES=3000000", "FAIRLEAD_LIMITS_OUTBOX_BYTES=8000000")
		c := dial(t, "ws://"+s.public+"/ws/a")
		large := strings.Repeat("x", 1_000_000)
		c.send(large)
		c.want(large)
	})
	t.Run("head_bytes", func(t *testing.T) {
		s := limited(t, "FAIRLEAD_LIMITS_HEAD_BYTES=1024")
		if _, err := tryDial(t, "ws://"+s.public+"/ws/a", http.Header{"X": {strings.Repeat("x", 1024)}}); !errors.Is(err, refused(431)) {
			t.Errorf("%v, want 431", err)
		}
	})
	t.Run("handshake_timeout", func(t *testing.T) {
		s := limited(t, "FAIRLEAD_LIMITS_HANDSHAKE_TIMEOUT=50ms")
		conn, err := net.Dial("tcp", s.public)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		answer := make([]byte, 12)
		if _, err := conn.Read(answer); err != nil || string(answer) != "HTTP/1.1 408" {
			t.Errorf("a client that says nothing hears %q, %v", answer, err)
		}
	})
	t.Run("ping_interval and pong_timeout", func(t *testing.T) {
		s := limited(t, "FAIRLEAD_LIMITS_PING_INTERVAL=50ms", "FAIRLEAD_LIMITS_PONG_TIMEOUT=100ms")
		c := dial(t, "ws://"+s.public+"/ws/a")
		if f, err := readFrame(c.in); err != nil || f.Header.OpCode != ws.OpPing {
			t.Errorf("got %v, %v; want a ping", f.Header.OpCode, err)
		}
		for { // it is cut off, as it does not answer
			if _, err := readFrame(c.in); err != nil {
				break
			}
		}
		eventually(t, func() error {
			if _, body, err := s.get("/metrics"); err != nil || !strings.Contains(body, "\nfairlead_pong_timeouts_total 1\n") {
				return fmt.Errorf("the metrics do not count it: %w", err)
			}
			return nil
		})
	})
	t.Run("defer_accept", func(t *testing.T) {
		s := limited(t, "FAIRLEAD_LISTEN_DEFER_ACCEPT=1s")
		c := dial(t, "ws://"+s.public+"/ws/a")
		c.send("x")
		c.want("x")
	})
}
