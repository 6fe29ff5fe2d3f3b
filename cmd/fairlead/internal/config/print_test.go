package config

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestPrint(t *testing.T) {
	l := mustLoad(t, jwtConfig+`
[nats]
url = "nats://user:hidden-1@a:4222, tls://b:4222"
user = "u"
password = "hidden-2"
[[verifier]]
name = "drf"
kind = "drf_token"
dsn = "postgres://u:hidden-3@h/d"
`, Source{
		Getenv: env("FAIRLEAD_VERIFIER_JWT_1_SECRET=hidden-4", "FAIRLEAD_VERIFIER_JWT_1_REQUIRE=a b=c\"\\", "FAIRLEAD_NODE_NAME=\tn"),
		Flags:  []Flag{{"--listen", "listen.public", ":80"}},
	})
	var b strings.Builder
	if err := l.Print(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		"[listen]\npublic = \":80\" # flag --listen\ninternal = \"127.0.0.1:9000\" # default\n",
		`name = "\u0009n" # environment variable FAIRLEAD_NODE_NAME`,
		`url = "nats://(set)@a:4222, tls://b:4222" # `,
		"password = \"(set)\" # ", "password_file = \"\" # default\n",
		"[[verifier]]\nname = \"jwt-1\" # ", "secret = \"(set)\" # environment variable FAIRLEAD_VERIFIER_JWT_1_SECRET\n",
		`require = {"a b" = "c\"\\"} # environment`, "leeway = \"0s\" # default\n",
		"[[route]]\npath = \"/ws/{group}\" # ", "[[route.credential]]\nfrom = \"query\" # ",
		"fairlead.toml:10\nname = \"token\"",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "hidden") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	if n := strings.Count(text, "\nalgorithms ="); n != 1 {
		t.Errorf("algorithms is shown %d times, want only at the verifier of kind jwt", n)
	}
	var back Config
	if md, err := toml.Decode(text, &back); err != nil || len(md.Undecoded()) > 0 {
		t.Errorf("what was printed is no TOML of ours: %v, unknown keys %v", err, md.Undecoded())
	}
	if back.Verifiers[0].Require["a b"] != `c"\` || back.Node.Name != "\tn" {
		t.Errorf("it does not read back: %+v", back)
	}
}

// TestPrintURLs: a URL may have a password, or a key in its query.
func TestPrintURLs(t *testing.T) {
	l := mustLoad(t, `
[[verifier]]
name = "app"
kind = "callback"
url = "https://app.example.com/who?key=hidden-1&a=b"
[[verifier]]
name = "keys"
kind = "jwt"
algorithms = ["RS256"]
jwks_url = "https://u:hidden-2@issuer.example.com/jwks?key=hidden-3#x"
issuer = "https://u:hidden-4@issuer.example.com/"
[[verifier]]
name = "plain"
kind = "jwt"
algorithms = ["RS256"]
jwks_url = "https://issuer.example.com/jwks"
issuer = "a, b"
`, Source{})
	var b strings.Builder
	if err := l.Print(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		`url = "https://app.example.com/who?(set)" # `, `jwks_url = "https://(set)@issuer.example.com/jwks?(set)" # `,
		`issuer = "https://(set)@issuer.example.com/" # `, `jwks_url = "https://issuer.example.com/jwks" # `, `issuer = "a, b" # `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "hidden") {
		t.Errorf("a secret is shown:\n%s", text)
	}
}

func TestPrintDefault(t *testing.T) {
	var b strings.Builder
	if err := mustLoad(t, "", Source{}).Print(&b); err != nil {
		t.Fatal(err)
	}
	var back Config
	if _, err := toml.Decode(b.String(), &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&back, Default()) {
		t.Errorf("the defaults read back as %+v", back)
	}
}

func TestSummary(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"default":   {"", []string{"listens    0.0.0.0:8000 for", "embedded NATS inside", "nobody can connect"}},
		"published": {"[nats]\nlisten = \":4222\"", []string{"embedded NATS on :4222, cluster fairlead"}},
		"jwt": {
			jwtConfig + "[nats]\nurl = \"nats://u:hidden@h:1\"",
			[]string{"NATS at nats://(set)@h:1, cluster fairlead", "verifier   jwt-1 (jwt)", "route      /ws/{group}; lets in query token by jwt-1;"},
		},
		"all": {
			"[[authorizer]]\nname = \"g\"\nkind = \"signed\"\nsecret = \"hidden\"\n" + route("category = \"app\"\njoin = [\"a\", \"b\"]\nauthorize = \"g\""),
			[]string{"authorizer g (signed)", "/a of category app; lets in anonymous; asks g; joins a, b; a message is for \"broadcast\""},
		},
		"of, recheck, reject": {
			"[[authorizer]]\nname = \"g\"\nkind = \"grants\"\n[[authorizer]]\nname = \"e\"\nkind = \"any\"\nof = [\"g\"]\n" +
				route("authorize = \"e\"\nrecheck = \"1m\"\nreject = \"close\""),
			[]string{"authorizer e (any of g)", "asks e; looks again within 1m0s; refuses by a close frame; a message"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := mustLoad(t, tt.text, Source{}).Summary()
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("there is no %q in\n%s", want, got)
				}
			}
			if strings.Contains(got, "hidden") {
				t.Errorf("a password is shown:\n%s", got)
			}
		})
	}
}

func TestExample(t *testing.T) {
	text := Example()
	l := mustLoad(t, text, Source{})
	if len(l.Verifiers) != 6 || len(l.Routes) != 2 {
		t.Errorf("it has %d verifiers and %d routes", len(l.Verifiers), len(l.Routes))
	}
	if again := Example(); again == text {
		t.Error("two examples have the same secret")
	}
	if !strings.Contains(text, "FAIRLEAD_VERIFIER_JWT_SECRET.") {
		t.Error("the secret stands where it does not belong")
	}
	session, jwt := l.Verifiers[1].Secret, l.Verifiers[2].Secret
	if len(session) < 32 || len(jwt) < 32 || session == jwt || strings.Contains(text, "SECRET\"") {
		t.Errorf("the secrets are %q and %q", session, jwt)
	}
	t.Run("has every key", func(t *testing.T) {
		for _, key := range allKeys() {
			name := key[strings.LastIndexByte(key, '.')+1:]
			if !regexp.MustCompile(`(?m)(^(# )?|[{,] )` + name + ` *= `).MatchString(text) {
				t.Errorf("%s is missing", key)
			}
		}
	})
	t.Run("shows the defaults", func(t *testing.T) {
		got, d := *l.Config, Default()
		got.Verifiers, got.Authorizers, got.Routes = nil, nil, nil
		if !reflect.DeepEqual(&got, d) {
			t.Errorf("%+v", l.Config)
		}
		var v Verifier
		v.setDefaults()
		if jwt := l.Verifiers[1]; jwt.SubjectClaim != v.SubjectClaim || jwt.NameClaim != v.NameClaim || jwt.GroupsClaim != v.GroupsClaim ||
			jwt.RequireExpiry != v.RequireExpiry || jwt.Leeway != v.Leeway || l.Verifiers[0].InactiveUsers != v.InactiveUsers {
			t.Errorf("%+v", l.Verifiers)
		}
		var r Route
		r.setDefaults()
		if got := l.Routes[0]; got.NoOrigin != r.NoOrigin || got.Anonymous != r.Anonymous || got.Invalid != r.Invalid ||
			got.OnMessage != r.OnMessage || got.Greet != r.Greet {
			t.Errorf("%+v", got)
		}
	})
	t.Run("what is commented out is right as well", func(t *testing.T) {
		for _, m := range regexp.MustCompile(`(?m)^# [a-z_]+ +=`).FindAllStringIndex(text, -1) {
			_, err := Load(Source{File: writeFile(t, "fairlead.toml", text[:m[0]]+text[m[0]+2:])})
			if err != nil && (strings.Contains(err.Error(), "no such key") || strings.Contains(err.Error(), "no TOML")) {
				t.Error(err)
			}
		}
	})
}
