package authn

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/authn/conformance"
	"github.com/fairlead-ws/fairlead/session"
)

// conformanceRoute is one of the routes that stood behind the requests of conformance.json.
type conformanceRoute struct {
	origins   *OriginPolicy
	chain     *Chain
	authorize Authorizer
	anonymous bool // whoever is not known comes in as nobody
}

// outcome is what the route does, in the words of the package conformance, without the status of a refusal.
func (c *conformanceRoute) outcome(t *testing.T, r *Request) string {
	t.Helper()
	if c.origins.Check(r) != nil {
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
	path, err := url.PathUnescape(path)
	name, ok := strings.CutPrefix(strings.TrimSuffix(path, "/"), "/ws/")
	g, groupErr := session.ParseGroup(name)
	category, _, _ := g.Split()
	return g, ok && err == nil && groupErr == nil && category == "app"
}

// endpoint returns the route that stood behind a path of conformance.json, without the slash at its end.
func endpoint(routes map[string]conformanceRoute, path string) *conformanceRoute {
	path, err := url.PathUnescape(path)
	first, leaf, _ := strings.Cut(strings.Trim(path, "/"), "/")
	r, ok := routes[first]
	if !ok || err != nil {
		return nil
	}
	if r.origins == nil { // where Django looked at none
		r.origins = must(NewOriginPolicy(nil, false))
	}
	r.anonymous = r.anonymous && leaf == "who" // the others let nobody in whom they do not know
	return &r
}

// plain puts an expected answer into the words of outcome.
func plain(answer string) string {
	switch rest, in := strings.CutPrefix(answer, "101 "); {
	case in && !strings.HasPrefix(rest, "close="):
		return rest
	case answer == "101":
		return "user="
	}
	return "refused"
}

// TestConformance sends the requests to which a real Django answered through chains like those that stood there. What must
// come is Django's answer, or that of a rule (package conformance). What the head of a request decides is the gateway's, and
// not asked here; cmd/fairlead sends all of it to nodes.
func TestConformance(t *testing.T) {
	cases := must(conformance.Load("testdata/conformance.json"))
	cases = append(cases, must(conformance.Load("testdata/conformance_odd.json"))...)
	facts, err := conformance.LoadFacts("testdata/fixtures.json")
	if err != nil {
		t.Fatal(err)
	}
	users, err := NewUsers(t.Context(), UsersConfig{DSN: sqliteDSN, Field: "username"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := users.Close(); err != nil {
			t.Error(err)
		}
	})
	drf := newDRFToken(t, DRFTokenConfig{DSN: sqliteDSN})
	sessions := Source{Extractor: must(NewCookie("sessionid")), Verifier: newDjangoSession(t, DjangoSessionConfig{Legacy: true})}
	byName := newTestJWT(t, func(c *JWTConfig) { c.SubjectClaim, c.Users = "username", users })
	query := must(NewChain(Source{Extractor: must(NewQuery("token")), Verifier: drf}))
	routes := map[string]conformanceRoute{
		"a": {chain: must(NewChain(Source{Extractor: must(NewHeader("Authorization", "Token")), Verifier: drf}, sessions)), anonymous: true},
		"b": {chain: must(NewChain(Source{Extractor: must(NewCookie("JWT")), Verifier: byName})), anonymous: true},
		"s": {chain: must(NewChain(sessions)), anonymous: true},
		"d": {
			origins:   must(NewOriginPolicy([]string{"localhost", "127.0.0.1", ".example.com", "exact.example.org"}, false)),
			chain:     query,
			anonymous: true,
		},
		"o": {
			origins:   must(NewOriginPolicy([]string{"https://one.example.net:8443", "http://.two.example.net", "three.example.net"}, false)),
			chain:     must(NewChain()),
			anonymous: true,
		},
		"ws": {
			chain:     query,
			authorize: newSQL(t, SQLConfig{DSN: sqliteDSN, Query: gateQuery, Params: map[string]string{"user": "int", "id": "int"}}),
		},
	}
	e, groups, rules := conformance.NewExpecter(facts), map[string]int{}, map[string]int{}
	for i := range cases {
		c := &cases[i]
		if c.Variation != "" || c.Request == nil || e.Head(c) || c.Group == "subproto" {
			continue
		}
		r := parseHead(t, c.Request)
		route := endpoint(routes, string(r.Path))
		if route == nil {
			t.Errorf("%s: %s: no route stood there", c.Group, c.Name)
			continue
		}
		got, want := route.outcome(t, r), e.Expect(c)
		i := slices.IndexFunc(want, func(x conformance.Expectation) bool {
			w := plain(x.Answer)
			return got == w || w == "user=" && strings.HasPrefix(got, w)
		})
		if i < 0 {
			t.Errorf("%s: %s: got %q, want %v", c.Group, c.Name, got, want)
			continue
		}
		groups[c.Group]++
		rules[want[i].Rule]++
	}
	for _, group := range []string{"A-header", "B-jwt", "B-cookie", "S-session", "C-query", "C-path", "D-query", "origin-D", "origin-O"} {
		if groups[group] < 5 {
			t.Errorf("%d cases of %s were sent: %v, by the rules %v", groups[group], group, groups, rules)
		}
	}
}
