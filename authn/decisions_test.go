package authn

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/session"
)

// deciding counts what it is asked.
type deciding struct {
	Authorizer
	asked atomic.Int64
}

func (d *deciding) Authorize(ctx context.Context, q *Question) (string, error) {
	d.asked.Add(1)
	return d.Authorizer.Authorize(ctx, q)
}

func newDecisionCache(t testing.TB, a Authorizer) *DecisionCache {
	t.Helper()
	c := must(NewDecisionCache(DecisionCacheConfig{Name: "a", Authorizer: a, TTL: time.Minute, NegativeTTL: time.Second}))
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestDecisionCacheKeeps(t *testing.T) {
	alice := &session.Identity{Subject: "1", Name: "alice", Source: "v"}
	ends := &session.Identity{Subject: "1", Expires: time.Date(2000, 1, 1, 0, 0, 10, 0, time.UTC)} // a bubble begins with the year 2000
	for name, tt := range map[string]struct {
		id    *session.Identity
		err   error
		wait  time.Duration
		asked int64
	}{
		"a yes":                 {alice, nil, time.Minute - 1, 1},
		"a yes no longer":       {alice, nil, time.Minute, 2},
		"a yes to one who ends": {ends, nil, 10 * time.Second, 2},
		"a no":                  {alice, forbid(ReasonBadParameter, "no"), time.Second - 1, 1},
		"a no no longer":        {alice, forbid(ReasonForbidden, "no"), time.Second, 2},
		"not unavailable":       {alice, &Error{Kind: ErrUnavailable, Reason: ReasonAuthorizerUnavailable}, 0, 2},
		"not that we may not":   {alice, &Error{Kind: ErrUnavailable, Reason: ReasonAuthorizerUnavailable, Err: ErrForbidden}, 0, 2},
		"not a fault":           {alice, errors.New("odd"), 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &deciding{Authorizer: saying(map[bool]string{true: "rule"}[tt.err == nil], tt.err)}
				c := newDecisionCache(t, a)
				q := &Question{Identity: tt.id, Group: must(session.ParseGroup("g"))}
				for i := range 2 {
					rule, err := c.Authorize(t.Context(), q)
					if !errors.Is(err, tt.err) || (err == nil) != (rule == "rule") {
						t.Errorf("got %q, %v", rule, err)
					}
					if i == 0 {
						time.Sleep(tt.wait)
					}
				}
				if a.asked.Load() != tt.asked {
					t.Errorf("asked %d times, want %d", a.asked.Load(), tt.asked)
				}
			})
		})
	}
}

// TestDecisionCacheTellsApart: whoever differs in anything is asked about.
func TestDecisionCacheTellsApart(t *testing.T) {
	a := &deciding{Authorizer: saying("rule", nil)}
	c := newDecisionCache(t, a)
	g, h := must(session.ParseGroup("g")), must(session.ParseGroup("h"))
	questions := []*Question{
		{Identity: session.Anonymous(), Group: g},
		{Identity: &session.Identity{}, Group: g},
		{Identity: &session.Identity{Subject: "1"}, Group: g},
		{Identity: &session.Identity{Subject: "1", Name: "alice"}, Group: g},
		{Identity: &session.Identity{Subject: "1", Source: "v"}, Group: g},
		{Identity: &session.Identity{Subject: "1", Grants: []string{"a", "b"}}, Group: g},
		{Identity: &session.Identity{Subject: "1", Grants: []string{"ab"}}, Group: g},
		{Identity: &session.Identity{Subject: "1"}, Group: h},
		{Identity: &session.Identity{Subject: "1"}, Group: g, Params: Params{{"a", "b"}}},
		{Identity: &session.Identity{Subject: "1"}, Group: g, Params: Params{{"ab", ""}}},
	}
	for range 2 {
		for _, q := range questions {
			if _, err := c.Authorize(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := a.asked.Load(); n != int64(len(questions)) {
		t.Errorf("asked %d times about %d questions", n, len(questions))
	}
}

func TestDecisionCacheApply(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		change Change
		asked  int64
	}{
		"all":               {nil, Change{}, 2},
		"the user":          {nil, Change{Kind: ChangeUser, User: "1"}, 2},
		"a refused user":    {forbid(ReasonForbidden, "no"), Change{Kind: ChangeUser, User: "1"}, 2},
		"another user":      {nil, Change{Kind: ChangeUser, User: "2"}, 1},
		"a refused other":   {forbid(ReasonForbidden, "no"), Change{Kind: ChangeUser, User: "2"}, 1},
		"a token, a no one": {nil, Change{Kind: ChangeToken}, 1},
		"a session":         {nil, Change{Kind: ChangeSession}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &deciding{Authorizer: saying("rule", tt.err)}
				c := newDecisionCache(t, a)
				q := &Question{Identity: &session.Identity{Subject: "1"}, Group: must(session.ParseGroup("g"))}
				_, _ = c.Authorize(t.Context(), q)
				c.Apply(tt.change)
				_, _ = c.Authorize(t.Context(), q)
				if a.asked.Load() != tt.asked {
					t.Errorf("asked %d times, want %d", a.asked.Load(), tt.asked)
				}
			})
		})
	}
}

func TestDecisionCacheSharesAndAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		wait := make(chan struct{})
		a := &deciding{Authorizer: authorizeFunc(func(_ context.Context, q *Question) (string, error) {
			<-wait
			v, _ := q.Params.Get("group")
			return v, nil
		})}
		c := must(NewDecisionCache(DecisionCacheConfig{Name: "a", Authorizer: a, TTL: time.Minute, Registerer: r}))
		defer c.Close()
		ask := func(ctx context.Context) (string, error) {
			return c.Authorize(ctx, &Question{Identity: session.Anonymous(), Params: Params{{"group", "g"}}})
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := ask(ctx)
			wantRefusal(t, err, ErrUnavailable, ReasonAuthorizerUnavailable)
		})
		synctest.Wait()
		wg.Go(func() {
			if rule, err := ask(t.Context()); rule != "g" || err != nil {
				t.Errorf("got %q, %v", rule, err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(wait)
		wg.Wait()
		time.Sleep(2 * time.Second)
		for _, ctx := range []context.Context{t.Context(), WithMaxAge(t.Context(), 2*time.Second), WithMaxAge(t.Context(), time.Second)} {
			_, _ = ask(ctx)
		}
		time.Sleep(2 * time.Second)
		c.SetCap(time.Second)
		_, _ = ask(t.Context())
		want := `
# HELP fairlead_decision_cache_total Questions about groups to a cache, by where the answer came from.
# TYPE fairlead_decision_cache_total counter
fairlead_decision_cache_total{authorizer="a",result="abandoned"} 1
fairlead_decision_cache_total{authorizer="a",result="hit"} 2
fairlead_decision_cache_total{authorizer="a",result="miss"} 2
fairlead_decision_cache_total{authorizer="a",result="negative_hit"} 0
fairlead_decision_cache_total{authorizer="a",result="shared"} 1
`
		if err := testutil.GatherAndCompare(r, strings.NewReader(want), "fairlead_decision_cache_total"); err != nil {
			t.Error(err)
		}
		if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
	})
}

// offering is an authorizer with a subprotocol.
type offering struct{ Authorizer }

func (offering) SubprotocolPrefixes() [][]byte { return [][]byte{[]byte("grant.")} }

// TestDecisionCacheShowsThrough: what else the authorizer can do is still there.
func TestDecisionCacheShowsThrough(t *testing.T) {
	tenant := &Request{Header: []HeaderField{{[]byte("X-Tenant"), []byte("acme")}}}
	a := &deciding{Authorizer: saying("rule", nil)}
	c := newDecisionCache(t, struct {
		Authorizer
		asks
	}{a, asks{kept: tenant, again: true}})
	if r, again := c.Retain(&Request{}); r != tenant || !again {
		t.Errorf("Retain: %v, %v", r, again)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	id := &session.Identity{Subject: "1"}
	for _, r := range []*Request{{}, {}, tenant, nil, nil} { // nil: another question
		if _, err := c.Authorize(t.Context(), &Question{Identity: id, Request: r}); err != nil {
			t.Error(err)
		}
	}
	if a.asked.Load() != 2 {
		t.Errorf("asked %d times", a.asked.Load())
	}
	once := newDecisionCache(t, struct {
		Authorizer
		asks
	}{a, asks{}})
	for range 2 {
		if _, err := once.Authorize(t.Context(), &Question{Identity: id, Request: &Request{}}); err != nil {
			t.Error(err)
		}
	}
	if a.asked.Load() != 4 {
		t.Errorf("what is used up was kept: asked %d times", a.asked.Load())
	}
	if r, again := newDecisionCache(t, a).Retain(&Request{}); r != nil || !again {
		t.Errorf("without anything behind: %v, %v", r, again)
	}
	if p := newDecisionCache(t, must(NewAny("", offering{a}))).SubprotocolPrefixes(); len(p) != 1 || string(p[0]) != "grant." {
		t.Errorf("the prefixes are %s", p)
	}
	if p := newDecisionCache(t, a).SubprotocolPrefixes(); p != nil {
		t.Errorf("the prefixes are %s", p)
	}
	sql := must(NewSQL(SQLConfig{DSN: sqliteDSN, Query: "SELECT 1"}))
	closed := must(NewDecisionCache(DecisionCacheConfig{Authorizer: sql, TTL: time.Minute}))
	if err := errors.Join(closed.Check(t.Context()), closed.Close(), closed.Close()); err != nil {
		t.Error(err)
	}
	if err := sql.Check(t.Context()); err == nil {
		t.Error("the authorizer behind the cache is still open")
	}
}

func TestNewDecisionCacheRefuses(t *testing.T) {
	for name, c := range map[string]DecisionCacheConfig{
		"no authorizer": {Name: "a"},
		"odd name":      {Name: "a b", Authorizer: NewGrants("")},
		"negative":      {Authorizer: NewGrants(""), TTL: -1},
	} {
		if _, err := NewDecisionCache(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func BenchmarkDecisionCacheHit(b *testing.B) {
	c := newDecisionCache(b, saying("rule", nil))
	q := &Question{
		Identity: &session.Identity{Subject: "1", Name: "alice", Source: "v"}, Group: must(session.ParseGroup("app_1234")),
		Params: Params{{"group", "app_1234"}, {"group.category", "app"}, {"group.id", "1234"}},
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Authorize(b.Context(), q); err != nil {
			b.Fatal(err)
		}
	}
}
