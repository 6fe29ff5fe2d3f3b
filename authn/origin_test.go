package authn

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// originRequest returns a request to app.test:8000 with that Origin; "-" sends none.
func originRequest(origin string) *Request {
	r := &Request{Host: []byte("app.test:8000")}
	if origin != "-" {
		r.Origin, r.HasOrigin = []byte(origin), true
	}
	return r
}

func checkOrigin(t *testing.T, p *OriginPolicy, r *Request, ok bool) {
	t.Helper()
	switch err := p.Check(r); {
	case ok && err != nil:
		t.Errorf("Origin %q to %q: %v", r.Origin, r.Host, err)
	case !ok && err == nil:
		t.Errorf("Origin %q to %q was let in", r.Origin, r.Host)
	case !ok:
		wantRefusal(t, err, ErrForbidden, ReasonOrigin, "SECRET")
	}
}

func TestOriginPatterns(t *testing.T) {
	for _, c := range []struct {
		patterns string // separated by spaces
		yes, no  string // likewise
	}{
		{
			"example.com",
			"http://example.com https://example.com ws://example.com wss://example.com HTTPS://EXAMPLE.COM https://example.com:8443",
			"https://a.example.com https://notexample.com https://example.com.evil.test https://example.com. file://example.com " +
				"chrome-extension://example.com null - example.com //example.com https:example.com",
		},
		{
			".Example.com",
			"https://example.com http://a.example.com:1 https://a.b.EXAMPLE.com",
			"https://notexample.com https://.example.com https://a..example.com https://example.com.evil.test null -",
		},
		{
			"https://app.example.com",
			"https://app.example.com https://app.example.com:443 HTTPS://App.example.com",
			"http://app.example.com wss://app.example.com https://app.example.com:8443 https://example.com http://app.example.com:443",
		},
		{
			"https://app.example.com:8443",
			"https://app.example.com:8443",
			"https://app.example.com https://app.example.com:443 http://app.example.com:8443 https://app.example.com:84430",
		},
		{
			"http://.two.test",
			"http://two.test http://two.test:80 http://x.two.test http://x.y.two.test:80",
			"https://two.test ws://two.test http://two.test:8080 http://xtwo.test",
		},
		{"http://[::1]:3000", "http://[::1]:3000 http://[0:0:0:0:0:0:0:1]:3000", "http://[::1] http://[::2]:3000 http://::1:3000 http://[::1"},
		{"[2001:DB8::A]", "https://[2001:db8::a] http://[2001:db8:0::A]:99", "https://[2001:db8::b] https://[2001:db8::a%25eth0] https://2001:db8::a"},
		{"127.0.0.1", "http://127.0.0.1:5173", "http://127.0.0.10 http://0x7f.1"},
		{"capacitor://localhost app://bundle:5", "capacitor://localhost app://bundle:5", "capacitor://localhost:1 http://localhost app://bundle"},
		{"xn--bcher-kva.example", "https://xn--bcher-kva.example", "https://bücher.example"},
		{"one.test two.test", "https://one.test https://two.test", "https://three.test"},
		{"*", "https://anything.test null - capacitor://x http://[::1]:5", "* anything.test https://a/ "},
		{"file://", "file://", "FILE:// file://localhost file:///x null - https://one.test"},
		{"* file:// one.test", "file:// https://two.test null -", "file:/// file"},
		{"* one.test", "https://two.test -", "https://one.test/"},
	} {
		p := must(NewOriginPolicy(strings.Fields(c.patterns), false))
		for _, o := range strings.Fields(c.yes) {
			checkOrigin(t, p, originRequest(o), true)
		}
		for _, o := range strings.Fields(c.no) {
			checkOrigin(t, p, originRequest(o), false)
		}
	}
}

func TestOriginIsNothingButAnOrigin(t *testing.T) {
	p := must(NewOriginPolicy([]string{"*"}, true))
	for _, o := range []string{
		"", " ", "localhost", "//localhost", "http://", "http:///", "http://localhost/", "http://localhost/path?x", "http://localhost?",
		"http://localhost#x", "http://user@localhost", "http://user:SECRET@localhost", "http://evil.test\\@localhost", "http://a b",
		"http://localhost ", " http://localhost", "http://a.test, http://b.test", "http://localhost:", "http://localhost:x",
		"http://localhost:-1", "http://localhost:99999", "http://localhost:100000", "http://localhost:1:2", "http://.", "http://a..b",
		"http://.localhost", "http://[bad", "http://[]", "http://[::1]x", "http://[127.0.0.1]", "http://[::1%25lo]", "http://lоcalhost",
		"http://local\x00host", "1http://localhost", "://localhost", "h ttp://localhost", "NULL", "null ", "http://%6cocalhost",
		"http://" + strings.Repeat("a", 256),
	} {
		checkOrigin(t, p, originRequest(o), false)
	}
}

func TestOriginOfTheHostItself(t *testing.T) {
	for _, c := range []struct {
		host   string
		tls    bool
		origin string
		ok     bool
	}{
		{"app.test:8000", false, "http://app.test:8000", true},
		{"app.test:8000", false, "http://APP.test:8000", true},
		{"app.test:8000", false, "http://app.test", false},
		{"app.test:8000", false, "http://app.test:8001", false},
		{"app.test:8000", false, "http://other.test:8000", false},
		{"app.test:8000", false, "http://x.app.test:8000", false},
		{"app.test", false, "http://app.test", true},
		{"app.test", false, "http://app.test:80", true},
		{"app.test:80", false, "http://app.test", true},
		{"app.test", false, "http://app.test:8000", false},
		{"app.test", false, "https://app.test", true}, // a balancer ended TLS
		{"app.test:443", false, "https://app.test", true},
		{"app.test", false, "https://app.test:80", false},
		{"app.test", true, "https://app.test", true},
		{"app.test", true, "https://app.test:443", true},
		{"app.test:443", true, "https://app.test", true},
		{"app.test", true, "http://app.test", false}, // a page that anyone on the way can write
		{"app.test:8443", true, "https://app.test:8443", true},
		{"app.test", false, "capacitor://app.test", false},
		{"app.test", false, "null", false},
		{"app.test", false, "app.test", false},
		{"app.test", false, "", false},
		{"app.test", false, "-", true},
		{"[::1]:8000", false, "http://[::1]:8000", true},
		{"[0:0::1]:8000", false, "http://[::1]:8000", true},
		{"[::1]", false, "http://[::1]", true},
		{"127.0.0.1:8000", false, "http://localhost:8000", false},
		{"", false, "http://app.test", false},
		{"a b", false, "http://a b", false},
		{"user@app.test", false, "http://app.test", false},
	} {
		r := originRequest(c.origin)
		r.Host, r.TLS = []byte(c.host), c.tls
		checkOrigin(t, must(NewOriginPolicy(nil, false)), r, c.ok)
		checkOrigin(t, nil, r, c.ok)
	}
}

func TestOriginMissing(t *testing.T) {
	for _, c := range []struct {
		patterns     []string
		allowMissing bool
		ok           bool
	}{
		{nil, false, true},
		{nil, true, true},
		{[]string{"app.test"}, false, false},
		{[]string{"app.test"}, true, true},
		{[]string{"*"}, false, true}, // as Channels: who admits everyone admits programs
	} {
		checkOrigin(t, must(NewOriginPolicy(c.patterns, c.allowMissing)), originRequest("-"), c.ok)
	}
	// A missing Origin that is allowed allows no other one.
	checkOrigin(t, must(NewOriginPolicy([]string{"app.test"}, true)), originRequest("http://evil.test"), false)
}

func TestNewOriginPolicyRefuses(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                        "nothing behind",
		"localhost:3000":          "https://localhost:3000",
		"https://":                "nothing behind",
		"https://example.com/":    "nothing behind",
		"https://*.example.com":   "nothing behind",
		"*.example.com":           "nothing behind",
		".":                       "nothing behind",
		"http://.":                "nothing behind",
		"a..b":                    "nothing behind",
		"user@example.com":        "nothing behind",
		"bücher.example":          "nothing behind",
		"::1":                     "nothing behind",
		"[::1%lo]":                "nothing behind",
		".[::1]":                  "no subdomains",
		"1http://example.com":     "no scheme",
		"://example.com":          "no scheme",
		"https://example.com:0x1": "nothing behind",
		"null":                    "only *",
	} {
		_, err := NewOriginPolicy([]string{"ok.test", pattern}, false)
		switch {
		case err == nil:
			t.Errorf("pattern %q was accepted", pattern)
		case !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), strconv.Quote(pattern)):
			t.Errorf("pattern %q: the error %q does not say %q", pattern, err, want)
		}
	}
}

func TestOriginCheckDoesNotAllocate(t *testing.T) {
	p := must(NewOriginPolicy([]string{"https://one.test", ".example.com"}, false))
	own := must(NewOriginPolicy(nil, false))
	r, self := originRequest("https://a.example.com:8443"), originRequest("http://127.0.0.1:8000")
	self.Host = []byte("127.0.0.1:8000")
	if n := testing.AllocsPerRun(100, func() {
		if p.Check(r) != nil {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("Check with a list allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		if own.Check(self) != nil {
			t.Fatal("refused")
		}
	}); n > 1 {
		t.Errorf("Check against Host allocates %v times", n)
	}
}

// sameDomain is django.http.request.is_same_domain.
func sameDomain(host, pattern string) bool {
	return pattern[0] == '.' && (strings.HasSuffix(host, pattern) || host == pattern[1:]) || host == pattern
}

func FuzzOrigin(f *testing.F) {
	for _, c := range loadConformance(f) {
		if len(c.Request) > 0 {
			if r := parseHead(f, c.Request); r.HasOrigin {
				f.Add(r.Origin, r.Host, r.TLS)
			}
		}
	}
	f.Add([]byte("https://[::1]:8443"), []byte("[::1]:8443"), true)
	f.Add([]byte("https://a.example.com"), []byte("a.example.com"), false)
	f.Add([]byte("http://one.test:81"), []byte("one.test:81"), false)
	hosts := []string{"localhost", ".example.com", "127.0.0.1"}
	listed := must(NewOriginPolicy(hosts, false))
	own := must(NewOriginPolicy(nil, false))
	anyOne := must(NewOriginPolicy([]string{"*"}, false))
	f.Fuzz(func(t *testing.T, origin, host []byte, tls bool) {
		r := &Request{Origin: origin, HasOrigin: true, Host: host, TLS: tls}
		if anyOne.Check(r) != nil {
			if listed.Check(r) == nil || own.Check(r) == nil {
				t.Fatalf("%q is refused by * and accepted by a narrower list", origin)
			}
			return
		}
		if string(origin) == "null" {
			if listed.Check(r) == nil || own.Check(r) == nil {
				t.Fatal("null matched more than *")
			}
			return
		}
		u, err := url.Parse(string(origin))
		if err != nil || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || u.Host == "" {
			t.Fatalf("%q was accepted; net/url sees %+v, %v", origin, u, err)
		}
		name := strings.ToLower(u.Hostname())
		if listed.Check(r) == nil {
			if !sameDomain(name, hosts[0]) && !sameDomain(name, hosts[1]) && !sameDomain(name, hosts[2]) {
				t.Fatalf("%q matched none of the hosts by Django's rule", origin)
			}
		}
		if own.Check(r) == nil {
			h, err := url.Parse("x://" + string(host))
			if err != nil || !sameName(h.Hostname(), name) {
				t.Fatalf("%q passed as its own host %q", origin, host)
			}
			if h.Port() != "" && u.Port() != "" && !sameNumber(h.Port(), u.Port()) {
				t.Fatalf("%q passed with another port than %q", origin, host)
			}
		}
	})
}

func sameName(a, b string) bool {
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	return strings.EqualFold(a, b) || err1 == nil && err2 == nil && x == y
}

func sameNumber(a, b string) bool {
	x, err1 := strconv.Atoi(a)
	y, err2 := strconv.Atoi(b)
	return err1 == nil && err2 == nil && x == y
}

func BenchmarkOriginCheck(b *testing.B) {
	p := must(NewOriginPolicy([]string{"https://one.test", ".example.com"}, false))
	r := originRequest("https://a.example.com:8443")
	b.ReportAllocs()
	for b.Loop() {
		if p.Check(r) != nil {
			b.Fatal("refused")
		}
	}
}
