package config

import (
	"fmt"
	"slices"
	"testing"
)

// A route that goes by what credentials grant has one that can.
func TestNoGrants(t *testing.T) {
	const entries = `
[[verifier]]
name = "drf"
kind = "drf_token"
dsn  = "sqlite:x"
[[verifier]]
name = "ticket"
kind = "ticket"
[[authorizer]]
name = "g"
kind = "grants"
[[authorizer]]
name   = "s"
kind   = "signed"
secret = "x"
[[authorizer]]
name = "all"
kind = "any"
of   = ["g"]
[[authorizer]]
name = "either"
kind = "any"
of   = ["g", "s"]
[[route]]
path = "/{group}"
`
	for name, tt := range map[string]struct {
		authorize, join, anonymous, verifier string
		nobody                               bool
	}{
		"a token of Django": {"g", "{group}", "refuse", "drf", true},
		"or nobody":         {"g", "{group}", "allow", "drf", true},
		"nobody":            {"g", "{group}", "allow", "", true},
		"any of the same":   {"all", "{group}", "refuse", "drf", true},
		"any of others":     {"either", "{group}", "refuse", "drf", false},
		"another":           {"s", "{group}", "refuse", "drf", false},
		"a ticket":          {"g", "{group}", "refuse", "ticket", false},
		"no group":          {"g", "", "refuse", "drf", false},
		"no authorizer":     {"", "{group}", "refuse", "drf", false},
	} {
		text := entries + fmt.Sprintf("authorize = %q\nanonymous = %q\n", tt.authorize, tt.anonymous)
		if tt.join != "" {
			text += fmt.Sprintf("join = [%q]\n", tt.join)
		}
		if tt.verifier != "" {
			text += fmt.Sprintf("credential = [{ from = \"query\", name = \"token\", verifier = %q }]\n", tt.verifier)
		}
		var want []string
		if tt.nobody {
			want = []string{fmt.Sprintf(`FILE:26: route[0].authorize: nobody could connect: %q goes by the groups that a credential lists, and the route has none that lists any; `+
				`want one with a verifier of kind "jwt", "issuers", "callback" or "ticket", or another authorizer`, tt.authorize)}
		}
		if got := problemsOf(t, text, Source{}); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestPorts(t *testing.T) {
	for url, want := range map[string]string{
		"https://a.test": "", "https://a.test:/": "", "http://[::1]:65535/": "",
		"https://a.test:0/": "has a port that cannot be; want 1 to 65535", "https://[::1]:65536": "has a port that cannot be; want 1 to 65535",
		"https://a.test:hidden": "is missing or no URL; want one such as \"https://app.example.com/fairlead/\"",
	} {
		text := "[[verifier]]\nname = \"a\"\nkind = \"callback\"\nurl = \"" + url + "\"\n[[authorizer]]\nname = \"a\"\nkind = \"callback\"\nurl = \"" + url + "\"\n" +
			"[[verifier]]\nname = \"j\"\nkind = \"jwt\"\nalgorithms = [\"RS256\"]\njwks_url = \"" + url + "\""
		var all []string
		if want != "" {
			all = []string{"FILE:4: verifier[0].url: " + want, "FILE:8: authorizer[0].url: " + want, "FILE:13: verifier[1].jwks_url: " + want}
		}
		if got := problemsOf(t, text, Source{}); !slices.Equal(got, all) {
			t.Errorf("%s: %q, want %q", url, got, all)
		}
	}
}
