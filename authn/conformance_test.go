package authn

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/session"
)

// conformanceRoute is one of the routes that stood behind the requests of conformance.json.
type conformanceRoute struct {
	origins   *OriginPolicy
	chain     *Chain
	authorize Authorizer
	anonymous bool // whoever is not known comes in as nobody
}

// outcome is what the route does, in the words of conformance.json.
func (c *conformanceRoute) outcome(t *testing.T, r *Request) string {
	t.Helper()
	if c.origins != nil && c.origins.Check(r) != nil {
		return "refused"
	}
	id, err := c.chain.Authenticate(t.Context(), r)
	switch {
	case errors.Is(err, ErrUnavailable):
		t.Fatal(err)
	case err != nil && c.anonymous:
		return "anonymous"
	case err != nil:
		return "refused"
	}
	if c.authorize == nil {
		return "user=" + id.Name
	}
	g, ok := conformanceGroup(string(r.Path))
	if !ok || authorize(t.Context(), c.authorize, id, g, groupParams(g)) != nil {
		return "refused"
	}
	return "joined"
}

// conformanceGroup is a small stand-in for the gateway's route /ws/{group} with the category app.
func conformanceGroup(path string) (session.Group, bool) {
	name, ok := strings.CutPrefix(path, "/ws/")
	name, err := url.PathUnescape(strings.TrimSuffix(name, "/"))
	g, groupErr := session.ParseGroup(name)
	category, _, _ := g.Split()
	return g, ok && err == nil && groupErr == nil && category == "app"
}

// observedOutcome puts an answer of Django into the words of outcome.
func observedOutcome(t *testing.T, c conformanceCase) string {
	t.Helper()
	s, _ := c.Observed["daphne"].(string)
	switch {
	case strings.HasPrefix(s, "101 user="):
		return strings.TrimSuffix(strings.TrimPrefix(s, "101 "), " (inactive)")
	case s == "101 anonymous":
		return "anonymous"
	case s == "101 joined", strings.HasPrefix(s, "101, echo"):
		return "joined"
	case strings.HasPrefix(s, "403"), strings.HasPrefix(s, "400"), strings.HasPrefix(s, "500"):
		return "refused"
	}
	t.Fatalf("%s: the observed answer %q is not understood", c.Case, s)
	return ""
}

// conformanceDifferences are the requests that Fairlead answers in another way on purpose, with its answer. A row whose
// answer is Django's is an error, so that the table stays true.
var conformanceDifferences = map[string]string{
	// A scheme has no case (RFC 9110 section 11.1), and Django REST framework itself ignores it.
	"A-header: token KEY (lower case scheme)": "user=alice",
	"A-header: TOKEN KEY":                     "user=alice",
	// Only space and tab are white space.
	"A-header: Token<NBSP>KEY as UTF-8 C2 A0": "anonymous",
	// What raised an exception in Django is a credential that is absent or rejected; both are nobody on this route.
	"A-header: Token<NBSP>KEY as raw A0":      "anonymous",
	"A-header: Token (scheme only)":           "anonymous",
	"A-header: 'Token ' + nothing":            "anonymous",
	"A-header: empty value":                   "anonymous",
	"A-header: spaces only":                   "anonymous",
	"A-header: KEY only":                      "anonymous",
	"A-header: Token KEY extra (three words)": "anonymous",
	"A-header: non-UTF8 byte FF in key":       "anonymous",
	"A-header: Token KEY,Token KEY2":          "anonymous",
	// A token must end, and a date is a number.
	"B-jwt: no_exp (without exp: accepted (exp is verified only when present))": "anonymous",
	"B-jwt: exp_string (exp is a string of digits: int(exp) is taken)":          "anonymous",
	// A cookie that cannot be parsed hides nothing.
	"B-cookie: name before it without '=': foo; JWT=tok":     "user=alice",
	"B-cookie: value with space before it: foo=a b; JWT=tok": "user=alice",
	"B-cookie: illegal name before it: f(o)=1; JWT=tok":      "user=alice",
	`B-cookie: JSON value before it: p={"a":1}; JWT=tok`:     "user=alice",
	"B-cookie: illegal after it: JWT=tok; foo bar":           "user=alice",
	"B-cookie: UTF-8 elsewhere: x=é; JWT=tok":                "user=alice",
	"B-cookie: leading semicolon":                            "user=alice",
	// A comma ends no cookie: the rule of Django's parse_cookie. What was observed used Python's SimpleCookie.
	"B-cookie: comma separated: a=1, JWT=tok": "anonymous",
	// One rule for queries everywhere: that of route C, whose Django decodes. The last three are a bad request line, which
	// the gateway answers with 400 before anybody looks for a token.
	"D-query: token=KEY&x (a parameter without '=')":  "user=alice",
	"D-query: token=KEY&":                             "user=alice",
	"D-query: &token=KEY":                             "user=alice",
	"D-query: x=a=b&token=KEY ('=' in another value)": "user=alice",
	"D-query: to%6Ben=KEY (encoded name)":             "user=alice",
	"D-query: token=%61... (encoded value)":           "user=alice",
	"D-query: raw byte FF":                            "anonymous",
	"D-query: raw UTF-8 é":                            "anonymous",
	"D-query: token=KEY#frag (raw)":                   "anonymous",
	// An Origin is a scheme, a host and a port, and nothing else.
	"origin-D: Origin '//localhost'":                  "refused",
	"origin-D: Origin 'http://user@localhost'":        "refused",
	"origin-D: Origin 'http://localhost/path?x'":      "refused",
	"origin-D: Origin 'file://localhost'":             "refused",
	`origin-D: Origin 'http://evil.test\\@localhost'`: "refused",
	// A group's name is ASCII, and is the text.
	"C-path: /ws/app_%D9%A1%D9%A2%D9%A3%D9%A4 (Arabic-Indic digits 1234)": "refused",
}

func TestConformance(t *testing.T) {
	drf := newDRFToken(t, DRFTokenConfig{DSN: sqliteDSN})
	accepting := newDRFToken(t, DRFTokenConfig{DSN: sqliteDSN, Name: "accepting", AcceptInactive: true})
	sessions := Source{Extractor: must(NewCookie("sessionid")), Verifier: newDjangoSession(t, DjangoSessionConfig{Legacy: true})}
	users, err := NewUsers(t.Context(), UsersConfig{DSN: sqliteDSN, Field: "username"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := users.Close(); err != nil {
			t.Error(err)
		}
	})
	byName := newTestJWT(t, func(c *JWTConfig) { c.SubjectClaim, c.Users = "username", users })
	token := must(NewQuery("token"))
	c := &conformanceRoute{
		chain:     must(NewChain(Source{Extractor: token, Verifier: drf})),
		authorize: newSQL(t, SQLConfig{DSN: sqliteDSN, Query: gateQuery, Params: map[string]string{"user": "int", "id": "int"}}),
	}
	d := &conformanceRoute{
		origins:   must(NewOriginPolicy([]string{"localhost", "127.0.0.1", ".example.com", "exact.example.org"}, false)),
		chain:     must(NewChain(Source{Extractor: token, Verifier: accepting})),
		anonymous: true,
	}
	b := &conformanceRoute{chain: must(NewChain(Source{Extractor: must(NewCookie("JWT")), Verifier: byName})), anonymous: true}
	routes := map[string]*conformanceRoute{
		"A-header": {
			chain:     must(NewChain(Source{Extractor: must(NewHeader("Authorization", "Token")), Verifier: accepting}, sessions)),
			anonymous: true,
		},
		"S-session": {chain: must(NewChain(sessions)), anonymous: true},
		"B-jwt":     b,
		"B-cookie":  b,
		"C-query":   c,
		"C-path":    c,
		"D-query":   d,
		"origin-D":  d,
		"origin-O": {
			origins:   must(NewOriginPolicy([]string{"https://one.example.net:8443", "http://.two.example.net", "three.example.net"}, false)),
			chain:     must(NewChain()),
			anonymous: true,
		},
	}
	done, differences := 0, 0
	for _, c := range loadConformance(t) {
		route := routes[c.Group]
		// A second line of a header never gets here: the gateway answers 400.
		if route == nil || len(c.Request) == 0 || strings.HasPrefix(c.Case, "two ") && strings.Contains(c.Case, "headers") {
			continue
		}
		name := fmt.Sprintf("%s: %s", c.Group, c.Case)
		done++
		want := observedOutcome(t, c)
		if strings.Contains(c.Case, "strict consumer") && want == "refused" {
			want = "anonymous" // that endpoint let nobody in by itself
		}
		different, ok := conformanceDifferences[name]
		if ok {
			if differences++; different == want {
				t.Errorf("%s: the table says that it differs, and Django also says %s", name, want)
			}
			want = different
		}
		if got := route.outcome(t, parseHead(t, c.Request)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if done != 226 || differences != len(conformanceDifferences) {
		t.Errorf("%d requests were sent, with %d of %d differences", done, differences, len(conformanceDifferences))
	}
}
