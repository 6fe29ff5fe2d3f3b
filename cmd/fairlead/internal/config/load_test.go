package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// writeFile writes a file into a folder of the test's own, and returns its path.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// env returns a getenv for KEY=VALUE pairs.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if k, v, _ := strings.Cut(p, "="); k == name {
				return v
			}
		}
		return ""
	}
}

func mustLoad(t *testing.T, text string, src Source) *Loaded {
	t.Helper()
	if text != "" {
		src.File = writeFile(t, "fairlead.toml", text)
	}
	l, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// jwtConfig is a configuration that is valid, with as little as possible.
const jwtConfig = `
[[verifier]]
name = "jwt-1"
kind = "jwt"
algorithms = ["HS256"]
secret = "file"
[[route]]
path = "/ws/{group}"
credential = [
  { from = "query", name = "token", verifier = "jwt-1" },
]
`

func TestLayers(t *testing.T) {
	const key = "limits.message_bytes"
	file := "[limits]\nmessage_bytes = 2"
	for name, tt := range map[string]struct {
		file   string
		env    []string
		flags  []Flag
		want   int
		origin string
	}{
		"default":        {want: 65536, origin: "default"},
		"file":           {file: file, want: 2, origin: "fairlead.toml:2"},
		"environment":    {file: file, env: []string{"FAIRLEAD_LIMITS_MESSAGE_BYTES=3"}, want: 3, origin: "environment variable FAIRLEAD_LIMITS_MESSAGE_BYTES"},
		"empty variable": {file: file, env: []string{"FAIRLEAD_LIMITS_MESSAGE_BYTES="}, want: 2, origin: "fairlead.toml:2"},
		"flag": {
			file: file, env: []string{"FAIRLEAD_LIMITS_MESSAGE_BYTES=3"}, flags: []Flag{{"--message-bytes", key, "4"}},
			want: 4, origin: "flag --message-bytes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := mustLoad(t, tt.file, Source{Getenv: env(tt.env...), Flags: tt.flags})
			if l.Limits.MessageBytes != tt.want {
				t.Errorf("message_bytes is %d, want %d", l.Limits.MessageBytes, tt.want)
			}
			if got := l.Origin(key).String(); !strings.HasSuffix(got, tt.origin) {
				t.Errorf("its origin is %q, want %q", got, tt.origin)
			}
			if l.Limits.WriteTimeout != 10*time.Second {
				t.Errorf("write_timeout is %v: a layer overwrote what it does not mention", l.Limits.WriteTimeout)
			}
		})
	}
}

func TestBase(t *testing.T) {
	base := Default()
	base.Listen.Public = "127.0.0.1:1"
	l := mustLoad(t, "", Source{Base: base, Getenv: env("FAIRLEAD_LISTEN_INTERNAL=127.0.0.1:2")})
	if l.Listen.Public != "127.0.0.1:1" || l.Listen.Internal != "127.0.0.1:2" {
		t.Errorf("listen is %+v", l.Listen)
	}
}

func TestFileTypes(t *testing.T) {
	l := mustLoad(t, `
[limits]
ping_interval = "1m30s"
[[verifier]]
name = "a"
kind = "jwt"
algorithms = ["RS256", "ES256"]
public_key_file = "k.pem"
require = { token_type = "access", level = 3, staff = true }
require_expiry = false
[[authorizer]]
name = "m"
kind = "sql"
dsn = "sqlite:x"
query = "SELECT 1"
params = { user = "int" }
[[route]]
path = "/a"
origins = []
[[route.credential]]
from = "subprotocol"
prefix = "bearer."
verifier = "a"
[[route]]
path = "/b"
anonymous = "allow"
greet = true
`, Source{})
	v := l.Verifiers[0]
	if l.Limits.PingInterval != 90*time.Second {
		t.Errorf("ping_interval is %v", l.Limits.PingInterval)
	}
	if want := map[string]any{"token_type": "access", "level": int64(3), "staff": true}; !reflect.DeepEqual(v.Require, want) {
		t.Errorf("require is %v, want %v", v.Require, want)
	}
	if v.RequireExpiry || v.SubjectClaim != "user_id" || !reflect.DeepEqual(v.Algorithms, []string{"RS256", "ES256"}) {
		t.Errorf("the verifier is %+v", v)
	}
	if want := (Credential{From: "subprotocol", Prefix: "bearer.", Verifier: "a"}); l.Routes[0].Credentials[0] != want {
		t.Errorf("the credential is %+v, want %+v", l.Routes[0].Credentials[0], want)
	}
	if r := l.Routes[1]; !r.Greet || r.OnMessage != "broadcast" || r.Invalid != "refuse" {
		t.Errorf("the second route is %+v", r)
	}
	if i := l.VerifierIndex("a"); i != 0 {
		t.Errorf(`VerifierIndex("a") is %d`, i)
	}
	if i := l.AuthorizerIndex("other"); i != -1 {
		t.Errorf(`AuthorizerIndex("other") is %d`, i)
	}
	if got := l.JWTVerifiers(); !reflect.DeepEqual(got, []string{"a"}) {
		t.Errorf("JWTVerifiers() is %q", got)
	}
}

func TestEnvironment(t *testing.T) {
	t.Run("entries of the file", func(t *testing.T) {
		l := mustLoad(t, jwtConfig, Source{Getenv: env(
			"FAIRLEAD_VERIFIER_JWT_1_SECRET=by name", "FAIRLEAD_VERIFIER_0_ISSUER=by index",
			"FAIRLEAD_ROUTE_0_ORIGINS=https://a.example, https://b.example,", "FAIRLEAD_ROUTE_0_CREDENTIAL_0_NAME=key",
			"FAIRLEAD_VERIFIER_JWT_1_REQUIRE=token_type=access, x = y", "FAIRLEAD_VERIFIER_JWT_1_REQUIRE_EXPIRY=false",
			"FAIRLEAD_SERVICE_HOST=10.0.0.1", "FAIRLEAD_PORT=tcp://10.0.0.1:8000", // from Kubernetes
		)})
		v, r := l.Verifiers[0], l.Routes[0]
		if v.Secret != "by name" || v.Issuer != "by index" || v.RequireExpiry {
			t.Errorf("the verifier is %+v", v)
		}
		if want := map[string]any{"token_type": "access", "x": "y"}; !reflect.DeepEqual(v.Require, want) {
			t.Errorf("require is %v, want %v", v.Require, want)
		}
		if want := []string{"https://a.example", "https://b.example"}; !reflect.DeepEqual(r.Origins, want) {
			t.Errorf("origins is %q, want %q", r.Origins, want)
		}
		if r.Credentials[0].Name != "key" {
			t.Errorf("the credential is %+v", r.Credentials[0])
		}
	})
	t.Run("entries of its own", func(t *testing.T) {
		l := mustLoad(t, "", Source{Getenv: env(
			"FAIRLEAD_VERIFIER_0_NAME=jwt", "FAIRLEAD_VERIFIER_0_KIND=jwt", "FAIRLEAD_VERIFIER_0_ALGORITHMS=HS256",
			"FAIRLEAD_VERIFIER_0_SECRET=s", "FAIRLEAD_ROUTE_0_PATH=/a", "FAIRLEAD_ROUTE_1_PATH=/b",
			"FAIRLEAD_ROUTE_0_ANONYMOUS=allow", "FAIRLEAD_ROUTE_1_CREDENTIAL_0_FROM=cookie",
			"FAIRLEAD_ROUTE_1_CREDENTIAL_0_NAME=JWT", "FAIRLEAD_ROUTE_1_CREDENTIAL_0_VERIFIER=jwt",
			"FAIRLEAD_ROUTE_3_PATH=/not reached",
		)})
		if len(l.Routes) != 2 || l.Routes[0].NoOrigin != "refuse" || l.Routes[1].Credentials[0].Name != "JWT" {
			t.Errorf("routes are %+v", l.Routes)
		}
		if v := l.Verifiers[0]; v.SubjectClaim != "user_id" || !v.RequireExpiry {
			t.Errorf("the verifier has no defaults: %+v", v)
		}
	})
}

func TestSecretFiles(t *testing.T) {
	secret := writeFile(t, "secret", "from file\n")
	without := strings.Replace(jwtConfig, `secret = "file"`, "", 1)
	for name, tt := range map[string]struct {
		text string
		env  []string
		want string
		err  string
	}{
		"file":            {text: strings.Replace(jwtConfig, `secret = "file"`, `secret_file = "`+secret+`"`, 1), want: "from file"},
		"environment":     {text: without, env: []string{"FAIRLEAD_VERIFIER_JWT_1_SECRET_FILE=" + secret}, want: "from file"},
		"higher file":     {text: jwtConfig, env: []string{"FAIRLEAD_VERIFIER_JWT_1_SECRET_FILE=" + secret}, want: "from file"},
		"higher variable": {text: strings.Replace(jwtConfig, `secret = "file"`, `secret_file = "/none"`, 1), env: []string{"FAIRLEAD_VERIFIER_JWT_1_SECRET=x"}, want: "x"},
		"both": {
			text: jwtConfig, env: []string{"FAIRLEAD_VERIFIER_JWT_1_SECRET=x", "FAIRLEAD_VERIFIER_JWT_1_SECRET_FILE=" + secret},
			err: "environment variable FAIRLEAD_VERIFIER_JWT_1_SECRET_FILE: verifier[0].secret_file: secret is set as well; want one of them",
		},
		"not there": {text: without, env: []string{"FAIRLEAD_VERIFIER_JWT_1_SECRET_FILE=/none/x"}, err: "/none/x: no such file"},
		"empty":     {text: without, env: []string{"FAIRLEAD_VERIFIER_JWT_1_SECRET_FILE=" + writeFile(t, "empty", "\n")}, err: "is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := Load(Source{File: writeFile(t, "fairlead.toml", tt.text), Getenv: env(tt.env...)})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "\n") {
					t.Fatalf("the error is %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := l.Verifiers[0].Secret; got != tt.want {
				t.Errorf("the secret is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLoadFails(t *testing.T) {
	if _, err := Load(Source{File: filepath.Join(t.TempDir(), "none.toml")}); err == nil || !strings.Contains(err.Error(), "fairlead config example") {
		t.Errorf("a missing file: %v, want what to do", err)
	}
	if _, err := Load(Source{File: t.TempDir()}); err == nil {
		t.Error("a folder was read as a file")
	}
	if _, err := Load(Source{Flags: []Flag{{"--x", "no.such", "1"}}}); err == nil {
		t.Error("a flag for no key was accepted")
	}
	_, err := Load(Source{File: writeFile(t, "bad.toml", "[listen]\npublic = \"a:1\nsecret\"")})
	problems, ok := errors.AsType[Errors](err)
	if !ok || len(problems) != 1 || !strings.HasSuffix(problems[0].Where, "bad.toml:2") {
		t.Errorf("a syntax error: %v, want one problem with line 2", err)
	}
}
