package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// The series of a verifier or an authorizer that a reload took away go with it, when the last handshake that needs it has
// ended; those of the others go on.
func TestSeriesOfThoseThatAreGone(t *testing.T) {
	const (
		drf  = "[[verifier]]\nname = \"drf\"\nkind = \"drf_token\"\ndsn = \"sqlite:testdata/django.sqlite3\"\n"
		web  = "[[verifier]]\nname = \"web\"\nkind = \"django_session\"\ndsn = \"sqlite:testdata/django.sqlite3\"\nsecret = \"s3cr3t\"\n"
		app  = "[[verifier]]\nname = \"app\"\nkind = \"callback\"\nurl = \"http://127.0.0.1:1/\"\n"
		asks = "[[authorizer]]\nname = \"asks\"\nkind = \"callback\"\nurl = \"http://127.0.0.1:1/\"\ncache_ttl = \"1s\"\n"
		jwks = "[[verifier]]\nname = \"oidc\"\nkind = \"jwt\"\nalgorithms = [\"RS256\"]\njwks_url = \"http://127.0.0.1:1/\"\n"
		hmac = "[[verifier]]\nname = \"oidc\"\nkind = \"jwt\"\nalgorithms = [\"HS256\"]\nsecret = \"0123456789-0123456789-0123456789\"\n"
		// The dsn has no server, and nobody connects before listen.
		told   = "[[verifier]]\nname = \"told\"\nkind = \"drf_token\"\ndsn = \"postgres://fairlead@127.0.0.1:1/none\"\n"
		listen = "listen = true\n"
		route  = "[[route]]\npath = \"/ws/{group}\"\njoin = [\"{group}\"]\ncredential = [{ from = \"header\", name = \"Authorization\", scheme = \"Token\", verifier = \"drf\" }]\n"
	)
	registry := prometheus.NewRegistry()
	s := newSeries(registry)
	assembled := func(text string) *assembly {
		t.Helper()
		l, err := config.Load(config.Source{File: writeFile(t, "fairlead.toml", text), Getenv: getenv(nil)})
		if err != nil {
			t.Fatal(err)
		}
		a, err := assemble(t.Context(), l, s, quiet(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	// has returns the metrics that tell of each entry.
	has := func() map[string][]string {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		m := map[string][]string{}
		for _, f := range families {
			for _, metric := range f.GetMetric() {
				for _, l := range metric.GetLabel() {
					name := l.GetName() == "verifier" || l.GetName() == "authorizer" || l.GetName() == "name"
					if n := strings.TrimPrefix(f.GetName(), "fairlead_"); name && !slices.Contains(m[l.GetValue()], n) {
						m[l.GetValue()] = append(m[l.GetValue()], n)
					}
				}
			}
		}
		return m
	}
	closed := func(a *assembly) {
		t.Helper()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	first := assembled(drf + web + app + jwks + told + listen + asks + route)
	if _, err := first.verifiers["drf"].Verify(t.Context(), authn.Credential{Value: []byte(keys["unknown"])}); err == nil {
		t.Fatal("a key that nobody has was taken")
	}
	before := has()
	for name, metric := range map[string]string{
		"drf": "auth_cache_entries", "web": "auth_seconds", "app": "callback_breaker_state", "asks": "decision_cache_entries",
		"oidc": "jwks_keys", "told": "auth_listening",
	} {
		if !slices.Contains(before[name], metric) {
			t.Fatalf("%s has %q, not %s", name, before[name], metric)
		}
	}
	second := assembled(drf + hmac + told + route)
	if got := has(); len(got) != len(before) || len(got["web"]) != len(before["web"]) {
		t.Errorf("while the ones from before are needed, there are %q", got)
	}
	closed(first)
	after := has()
	if len(after) != 3 || !slices.Equal(after["drf"], before["drf"]) || !slices.Equal(after["oidc"], []string{"auth_seconds"}) {
		t.Errorf("there are %q", after)
	}
	if slices.Contains(after["told"], "auth_listening") || !slices.Contains(after["told"], "auth_queries_total") {
		t.Errorf("one that listens no more has %q", after["told"])
	}
	want := "# HELP fairlead_auth_query_keys_total Keys that a verifier asked its database for: tokens, sessions, users.\n" +
		"# TYPE fairlead_auth_query_keys_total counter\n" +
		"fairlead_auth_query_keys_total{verifier=\"drf\"} 1\nfairlead_auth_query_keys_total{verifier=\"told\"} 0\n"
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "fairlead_auth_query_keys_total"); err != nil {
		t.Error(err) // what was counted before counts on
	}
	webRoute := strings.ReplaceAll(route, "drf", "web")
	bad := web + strings.ReplaceAll(web, "web", "bad") + "session_table = \"a..b\"\n" + webRoute
	l, err := config.Load(config.Source{File: writeFile(t, "fairlead.toml", bad), Getenv: getenv(nil)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = assemble(t.Context(), l, s, quiet(), nil); err == nil {
		t.Error("a mistake passes")
	}
	if got := has(); len(got) != 3 {
		t.Errorf("after a mistake, %v, there are %q", err, got)
	}
	third := assembled(web + webRoute)
	closed(second)
	closed(third)
	if got := has(); len(got) != 0 || len(s.uses) != 0 {
		t.Errorf("at the end there are %q", got)
	}
}
