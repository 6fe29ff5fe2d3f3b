package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const secret = "SECRET0123456789abcdef"

func mustKey(t testing.TB, name, key string) Key {
	t.Helper()
	k, err := NewKey(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Without keys, programs on this machine may ask, and browsers that were sent here by others may not.
func TestGuardOnLoopback(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	for _, tt := range []struct {
		method, target string
		header         []string
		code           string // "": it is let in
	}{
		{"GET", "/api/v1/nodes", nil, ""},
		{"GET", "/api/v1/nodes", []string{"Host", "localhost:9000"}, ""},
		{"GET", "/api/v1/nodes", []string{"Host", "LOCALHOST."}, ""},
		{"GET", "/api/v1/nodes", []string{"Host", "[::1]:9000"}, ""},
		{"GET", "/api/v1/nodes", []string{"Host", "127.8.9.1"}, ""},
		{"GET", "/api/v1/nodes", []string{"Sec-Fetch-Site", "none"}, ""},
		{"GET", "/api/v1/nodes", []string{"Sec-Fetch-Site", "same-origin"}, ""},
		{"POST", "/api/v1/users/1/disconnect", []string{"Origin", "http://127.0.0.1:9000"}, ""},

		{"GET", "/api/v1/nodes", []string{"Host", "evil.example:9000"}, "host"}, // DNS rebinding
		{"GET", "/api/v1/nodes", []string{"Host", "localhost.evil.example"}, "host"},
		{"GET", "/api/v1/nodes", []string{"Host", "127.0.0.1.evil.example"}, "host"},
		{"GET", "/api/v1/nodes", []string{"Host", "10.0.0.1:9000"}, "host"},
		{"POST", "/api/v1/users/1/disconnect", []string{"Host", "evil.example", "Origin", "http://evil.example", "Sec-Fetch-Site", "same-origin"}, "host"},
		{"GET", "/api/v1/nodes", []string{"Sec-Fetch-Site", "cross-site"}, "cross_origin"},
		{"GET", "/api/v1/nodes", []string{"Sec-Fetch-Site", "same-site"}, "cross_origin"}, // another port of localhost
		{"GET", "/debug/pprof/heap", []string{"Sec-Fetch-Site", "cross-site"}, "cross_origin"},
		{"GET", "/debug/pprof/profile?seconds=1", []string{"Host", "evil.example"}, "host"},
		{"POST", "/api/v1/users/1/disconnect", []string{"Sec-Fetch-Site", "cross-site"}, "cross_origin"},
		{"POST", "/api/v1/users/1/disconnect", []string{"Origin", "https://evil.example"}, "cross_origin"},
		{"POST", "/api/v1/users/1/disconnect", []string{"Origin", "null"}, "cross_origin"},
		{"POST", "/api/v1/users/1/disconnect", []string{"Origin", "http://127.0.0.1:8080"}, "cross_origin"},
	} {
		res := n.ask(tt.method, tt.target, "", tt.header...)
		if tt.code == "" {
			if res.Code != 200 {
				t.Errorf("%s %s with %q: %d %s", tt.method, tt.target, tt.header, res.Code, res.Body)
			}
			continue
		}
		res.refused(403, tt.code, "")
	}
	for reason, want := range map[string]float64{deniedHost: 6, deniedOrigin: 7} {
		if got := testutil.ToFloat64(n.API.metrics.denied[reason]); got != want {
			t.Errorf("%v denied for %s, want %v", got, reason, want)
		}
	}
	// Health and metrics are open to all, as orchestrators ask by address.
	for _, path := range []string{"/healthz", "/readyz"} {
		if res := n.ask("GET", path, "", "Host", "10.0.0.1:9000"); res.Code != 200 {
			t.Errorf("%s: %d", path, res.Code)
		}
	}
}

func TestGuardBeyondLoopback(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, func(c *Config) { c.Loopback = false })
	for _, path := range []string{"/api/v1/nodes", "/debug/pprof/heap", "/api/v1/openapi.json"} {
		n.ask("GET", path, "").refused(403, "keys_required", "set api.keys_file")
	}
	if res := n.ask("GET", "/readyz", ""); res.Code != 200 {
		t.Errorf("/readyz: %d", res.Code)
	}
}

func TestGuardWithKeys(t *testing.T) {
	old := "OLD" + secret
	n := newTestNode(t, "n", 1, nil, func(c *Config) {
		c.Loopback = false
		c.Keys = []Key{mustKey(t, "backend", old), mustKey(t, "ops", secret)}
	})
	for _, tt := range []struct {
		header string
		ok     bool
	}{
		{"Bearer " + secret, true},
		{"bearer  " + secret + " ", true},
		{"Bearer " + old, true},
		{"", false},
		{secret, false},
		{"Bearer", false},
		{"Bearer ", false},
		{"Basic " + secret, false},
		{"Bearer " + secret[1:], false},
		{"Bearer " + secret + "x", false},
		{"Bearer " + strings.ToLower(secret), false},
		{"Bearer " + secret + "," + old, false},
		{"Bearer " + strings.Repeat("x", maxKey+1), false},
	} {
		for _, path := range []string{"/api/v1/nodes", "/debug/pprof/"} {
			var header []string
			if tt.header != "" {
				header = []string{"Authorization", tt.header}
			}
			res := n.ask("GET", path, "", append(header, "Host", "fairlead.internal:9000")...)
			if tt.ok {
				if res.Code != 200 {
					t.Errorf("%s with %q: %d %s", path, tt.header, res.Code, res.Body)
				}
				continue
			}
			res.refused(401, "unauthorized", "Authorization: Bearer KEY")
			if got := res.Header().Get("WWW-Authenticate"); got != `Bearer realm="fairlead"` {
				t.Errorf("WWW-Authenticate is %q", got)
			}
		}
	}
	// A page has no key, but a browser extension may add one: its origin is looked at nevertheless.
	n.ask("POST", "/api/v1/users/1/disconnect", "", "Authorization", "Bearer "+secret, "Origin", "https://evil.example").refused(403, "cross_origin", "")

	n.SetKeys([]Key{mustKey(t, "new", "NEW"+secret)})
	n.ask("GET", "/api/v1/nodes", "", "Authorization", "Bearer "+secret).refused(401, "unauthorized", "")
	if res := n.ask("GET", "/api/v1/nodes", "", "Authorization", "Bearer NEW"+secret); res.Code != 200 {
		t.Errorf("a new key: %d", res.Code)
	}
	n.ask("POST", "/api/v1/users/7/disconnect", "", "Authorization", "Bearer NEW"+secret)
	if log := n.log.String(); strings.Contains(log, "SECRET") || !strings.Contains(log, "by=new") {
		t.Errorf("the log is\n%s", log)
	}
}

func TestParseKeys(t *testing.T) {
	keys, err := ParseKeys([]byte("# for the backend\n\n  backend : " + secret + "  \r\nbackend:" + secret + "==\nops-2:a-b._~+/" + secret))
	if err != nil || len(keys) != 3 || keys[0].Name() != "backend" || keys[2].Name() != "ops-2" {
		t.Fatalf("%v, %v", keys, err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", keys[0], keys[0], keys[0], keys[0]); text != "backend backend backend backend" {
		t.Errorf("a key prints as %s", text)
	}
	for name, tt := range map[string]struct{ file, says string }{
		"empty":      {"", "there is no key"},
		"comments":   {"# a\n#b", "there is no key"},
		"no colon":   {"# x\n" + secret, "line 2 has no colon"},
		"no name":    {":" + secret, `line 1: "" is no name`},
		"bad name":   {"a b:" + secret, `"a b" is no name`},
		"swapped":    {secret + "/:ops", "is no name"},
		"short":      {"ops:SECRET", "line 1: the key of ops has 6 characters; want 16 to 512"},
		"long":       {"ops:" + strings.Repeat(secret, 100), "want 16 to 512"},
		"characters": {"ops:" + secret + "!", "a character that no bearer key can have"},
		"space":      {"ops:" + secret + " " + secret, "a character that no bearer key can have"},
		"twice":      {"a:" + secret + "\nb:" + secret, "line 2: a and b have the same key"},
		"too large":  {strings.Repeat("#\n", maxKeysFile), "at most 1048576"},
	} {
		keys, err := ParseKeys([]byte(tt.file))
		if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), secret) || keys != nil {
			t.Errorf("%s: %v, %v; want an error that says %q", name, keys, err, tt.says)
		}
	}
	var many strings.Builder
	for i := range maxKeys + 1 {
		fmt.Fprintf(&many, "k:%s%d\n", secret, i)
	}
	if _, err := ParseKeys([]byte(many.String())); err == nil || !strings.Contains(err.Error(), "more than 1000 keys") {
		t.Errorf("many keys: %v", err)
	}
}

// FuzzParseKeys holds that what is read can be used, and that errors hold no key.
func FuzzParseKeys(f *testing.F) {
	for _, file := range []string{"ops:" + secret, "# x\n\nops:" + secret + "\r\n", secret, "a:b:c", "\xff:" + secret} {
		f.Add([]byte(file), "Bearer "+secret)
	}
	f.Fuzz(func(t *testing.T, file []byte, field string) {
		keys, err := ParseKeys(file)
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("%v, %v", keys, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Fatal(err)
		}
		if key, ok := bearer(field); ok && (key == "" || len(key) > maxKey || strings.HasSuffix(key, " ")) {
			t.Fatalf("%q", key)
		}
	})
}

func TestNewChecksTheBackend(t *testing.T) {
	if _, err := New(Config{Backend: &Backend{}}); err == nil || !strings.Contains(err.Error(), "Backend") {
		t.Errorf("New with an empty Backend: %v", err)
	}
	registry := prometheus.NewRegistry()
	taken := prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_api_denied_total", Help: "Taken."})
	registry.MustRegister(taken)
	n := newTestNode(t, "n", 1, nil, nil)
	if _, err := New(Config{Backend: n.backend, Registerer: registry}); err == nil {
		t.Error("New with a registry that has such a metric gives no error")
	}
	if families, err := registry.Gather(); err != nil || len(families) != 1 {
		t.Errorf("%d metrics are left, %v", len(families), err)
	}
	if problems, err := testutil.GatherAndLint(n.registry); err != nil || len(problems) != 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	// Without a backend there is nothing to guard.
	a := mustNew(t, Config{})
	if a.Answerers() != nil || do(t, a.Handler(), "GET", "/api/v1/nodes").Code != http.StatusNotFound {
		t.Error("without a Backend there are paths of the API")
	}
}
