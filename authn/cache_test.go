package authn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
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

// counted is a verifier whose answers can be set, and which counts what it is asked. It has every optional method.
type counted struct {
	asked    atomic.Int64
	answer   atomic.Pointer[verifyFunc]
	checked  error
	closed   atomic.Int64
	usedUp   bool
	retained string // a header that it looks at; "": none
}

func newCounted(answer verifyFunc) *counted {
	c := &counted{}
	c.answer.Store(&answer)
	return c
}

func (v *counted) Verify(ctx context.Context, c Credential) (*session.Identity, error) {
	v.asked.Add(1)
	return (*v.answer.Load())(ctx, c)
}

func (v *counted) Retain(r *Request) (*Request, bool) {
	if v.retained == "" {
		return nil, !v.usedUp
	}
	value, _ := r.Get(v.retained)
	return &Request{Path: bytes.Clone(r.Path), Header: []HeaderField{{[]byte(v.retained), bytes.Clone(value)}}}, !v.usedUp
}

func (v *counted) Check(context.Context) error { return v.checked }

func (v *counted) Close() error {
	v.closed.Add(1)
	return nil
}

// accept accepts every credential as that of user 1.
func accept(context.Context, Credential) (*session.Identity, error) {
	return &session.Identity{Subject: "1", Source: "v"}, nil
}

func newCache(t testing.TB, v Verifier) *Cache {
	t.Helper()
	c := must(NewCache(CacheConfig{Name: "v", Verifier: v, TTL: time.Minute, NegativeTTL: time.Second}))
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestCacheKeeps(t *testing.T) {
	fault := &Error{Kind: ErrUnavailable, Reason: ReasonVerifierUnavailable}
	for name, tt := range map[string]struct {
		answer verifyFunc
		wait   time.Duration
		asked  int64 // by two calls with the wait between
	}{
		"an identity":           {accept, time.Minute - 1, 1},
		"no longer than it may": {accept, time.Minute, 2},
		"no longer than it lasts": {func(context.Context, Credential) (*session.Identity, error) {
			return &session.Identity{Subject: "1", Expires: time.Now().Add(10 * time.Second)}, nil
		}, 10 * time.Second, 2},
		"a rejection":                   {failing(reject(ReasonUnknownToken, "no")).(verifyFunc), time.Second - 1, 1},
		"a bare rejection":              {failing(ErrRejected).(verifyFunc), time.Second - 1, 1},
		"a rejection no longer":         {failing(reject(ReasonUnknownToken, "no")).(verifyFunc), time.Second, 2},
		"not that nobody could say":     {failing(fault).(verifyFunc), 0, 2},
		"not that there is none":        {failing(ErrAbsent).(verifyFunc), 0, 2},
		"not that it is forbidden":      {failing(forbid(ReasonForbidden, "no")).(verifyFunc), 0, 2},
		"not a fault":                   {failing(errors.New("odd")).(verifyFunc), 0, 2},
		"not the answer that is no one": {func(context.Context, Credential) (*session.Identity, error) { return nil, nil }, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newCounted(tt.answer)
				c := newCache(t, v)
				id1, err1 := verify(t, c, "key")
				time.Sleep(tt.wait)
				id2, err2 := verify(t, c, "key")
				if (id1 == nil) != (id2 == nil) || !errors.Is(err2, err1) || v.asked.Load() != tt.asked {
					t.Errorf("asked %d times; %v, %v, then %v, %v", v.asked.Load(), id1, err1, id2, err2)
				}
				if _, err := verify(t, c, "another"); !errors.Is(err, err1) || v.asked.Load() != tt.asked+1 {
					t.Errorf("another credential was not asked about: %v", err)
				}
				v.asked.Store(0)
				if chain := must(NewChain(Source{Extractor: must(NewQuery("token")), Verifier: c, Name: "v"})); true {
					_, err := chain.Find(t.Context(), &Request{RawQuery: []byte("token=key")})
					_, want := must(NewChain(Source{Extractor: must(NewQuery("token")), Verifier: v, Name: "v"})).Find(t.Context(), &Request{RawQuery: []byte("token=key")})
					if fmt.Sprint(err) != fmt.Sprint(want) {
						t.Errorf("with the cache %v, without %v", err, want)
					}
				}
			})
		})
	}
}

func TestCacheMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newCounted(accept)
		c := newCache(t, v)
		ask := func(age time.Duration) int64 {
			if _, err := c.Verify(WithMaxAge(t.Context(), age), Credential{Value: []byte("key")}); err != nil {
				t.Fatal(err)
			}
			return v.asked.Load()
		}
		_, _ = verify(t, c, "key")
		time.Sleep(5 * time.Second)
		if ask(5*time.Second) != 1 || ask(4*time.Second) != 2 || ask(time.Second) != 2 {
			t.Error("the age that is wanted does not decide")
		}
		time.Sleep(time.Second)
		if ask(0) != 3 || ask(-time.Second) != 3 {
			t.Error("an age of 0 is not now")
		}
		time.Sleep(31 * time.Second)
		c.SetCap(30 * time.Second)
		if _, _ = verify(t, c, "key"); v.asked.Load() != 4 {
			t.Error("the cap does not count")
		}
		time.Sleep(31 * time.Second)
		if ask(time.Minute) != 5 {
			t.Error("the cap does not count beside an age")
		}
		time.Sleep(31 * time.Second)
		c.SetCap(0)
		if _, _ = verify(t, c, "key"); v.asked.Load() != 5 {
			t.Error("the cap is still there")
		}
	})
}

func TestCacheShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		wait := make(chan struct{})
		v := newCounted(func(_ context.Context, c Credential) (*session.Identity, error) {
			<-wait
			return &session.Identity{Subject: string(c.Value)}, nil
		})
		c := must(NewCache(CacheConfig{Name: "v", Verifier: v, TTL: time.Minute, Registerer: r}))
		defer c.Close()
		var wg sync.WaitGroup
		for i := range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			wg.Go(func() {
				value := []byte("alice")
				id, err := c.Verify(ctx, Credential{Value: value})
				clear(value) // it is the next handshake's now
				if i == 0 {
					wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, "alice")
				} else if err != nil || id.Subject != "alice" {
					t.Errorf("got %v, %v", id, err)
				}
			})
			synctest.Wait()
			if i == 0 {
				cancel() // who asks leaves
				synctest.Wait()
			}
		}
		close(wait)
		wg.Wait()
		_, _ = verify(t, c, "alice")
		if v.asked.Load() != 1 {
			t.Errorf("asked %d times", v.asked.Load())
		}
		want := `
# HELP fairlead_auth_cache_entries Answers about credentials that are kept, some of which may have ended, by what they say.
# TYPE fairlead_auth_cache_entries gauge
fairlead_auth_cache_entries{answer="bad",verifier="v"} 0
fairlead_auth_cache_entries{answer="good",verifier="v"} 1
# HELP fairlead_auth_cache_total Questions about credentials to a cache, by where the answer came from.
# TYPE fairlead_auth_cache_total counter
fairlead_auth_cache_total{result="abandoned",verifier="v"} 1
fairlead_auth_cache_total{result="hit",verifier="v"} 1
fairlead_auth_cache_total{result="miss",verifier="v"} 0
fairlead_auth_cache_total{result="negative_hit",verifier="v"} 0
fairlead_auth_cache_total{result="shared",verifier="v"} 9
`
		if err := testutil.GatherAndCompare(r, strings.NewReader(want), "fairlead_auth_cache_entries", "fairlead_auth_cache_total"); err != nil {
			t.Error(err)
		}
		if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
		if again, err := NewCache(CacheConfig{Name: "v", Verifier: v, Registerer: r}); err != nil {
			t.Errorf("the next assembly of the same registry: %v", err)
		} else if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestCacheDoesNotLetGarbageIn floods the cache with rejections.
func TestCacheDoesNotLetGarbageIn(t *testing.T) {
	v := newCounted(only("good", "1").(verifyFunc))
	c := must(NewCache(CacheConfig{Name: "v", Verifier: v, TTL: time.Hour, NegativeTTL: time.Hour, MaxEntries: 1}))
	defer c.Close()
	if _, err := verify(t, c, "good"); err != nil {
		t.Fatal(err)
	}
	for i := range maxBadEntries + 100 {
		_, err := verify(t, c, fmt.Sprint("garbage ", i))
		wantRefusal(t, err, ErrRejected, ReasonUnknownToken)
	}
	before := v.asked.Load()
	if _, err := verify(t, c, "good"); err != nil || v.asked.Load() != before {
		t.Errorf("the good one was pushed out: %v", err)
	}
	if _, bad := c.answers.Len(); bad != maxBadEntries {
		t.Errorf("%d bad answers are kept", bad)
	}
}

func TestCacheApply(t *testing.T) {
	digest := func(s string) (c Change) {
		c.Digest = CredentialDigest([]byte(s))
		return c
	}
	token, session, other := digest("key"), digest("key"), digest("other")
	token.Kind, session.Kind, other.Kind = ChangeToken, ChangeSession, ChangeToken
	for name, tt := range map[string]struct {
		change Change
		asked  int64
	}{
		"all":           {Change{}, 2},
		"token":         {token, 2},
		"session":       {session, 2},
		"another token": {other, 1},
		"user":          {Change{Kind: ChangeUser, User: "1"}, 2},
		"another user":  {Change{Kind: ChangeUser, User: "11"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			v := newCounted(accept)
			c := newCache(t, v)
			_, _ = verify(t, c, "key")
			c.Apply(tt.change)
			_, _ = verify(t, c, "key")
			if v.asked.Load() != tt.asked {
				t.Errorf("asked %d times, want %d", v.asked.Load(), tt.asked)
			}
		})
	}
}

// TestCacheShowsThrough: who looks at a verifier for more than Verify finds what the one behind the cache has.
func TestCacheShowsThrough(t *testing.T) {
	v := newCounted(accept)
	v.checked, v.usedUp = errors.New("no table"), true
	c := must(NewCache(CacheConfig{Verifier: v, TTL: time.Minute}))
	if err := c.Check(t.Context()); !errors.Is(err, v.checked) {
		t.Errorf("Check: %v", err)
	}
	if _, again := c.Retain(&Request{}); again {
		t.Error("what is used up can be asked again")
	}
	for range 2 { // it is not kept either
		if _, err := c.Verify(t.Context(), Credential{Value: []byte("ticket"), Request: &Request{}}); err != nil {
			t.Error(err)
		}
	}
	if v.asked.Load() != 2 {
		t.Errorf("asked %d times", v.asked.Load())
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil || v.closed.Load() != 2 {
		t.Errorf("Close: %v, %d", err, v.closed.Load())
	}
	c = must(NewCache(CacheConfig{Verifier: verifyFunc(accept), TTL: time.Minute}))
	kept, again := c.Retain(&Request{})
	if err := errors.Join(c.Check(t.Context()), c.Close()); err != nil || kept != nil || !again {
		t.Errorf("without anything behind: %v, %v, %v", err, kept, again)
	}
}

// TestCacheSeesTheRequest: an answer is good for requests that are alike to the verifier, also when one is kept.
func TestCacheSeesTheRequest(t *testing.T) {
	v := newCounted(func(_ context.Context, c Credential) (*session.Identity, error) {
		tenant, _ := c.Request.Get("X-Tenant")
		return &session.Identity{Subject: string(c.Value) + "@" + string(tenant)}, nil
	})
	v.retained = "X-Tenant"
	c := newCache(t, v)
	chain := must(NewChain(Source{Extractor: must(NewQuery("token")), Verifier: c}))
	var kept *Kept
	for _, tt := range []struct {
		path, tenant, other string
		asked               int64
	}{{"/a", "acme", "1", 1}, {"/a", "acme", "2", 1}, {"/a", "else", "1", 2}, {"/b", "acme", "1", 3}} {
		r := &Request{
			Path: []byte(tt.path), RawQuery: []byte("token=alice"),
			Header: []HeaderField{{[]byte("X-Tenant"), []byte(tt.tenant)}, {[]byte("X-Other"), []byte(tt.other)}},
		}
		f, err := chain.Find(t.Context(), r)
		if err != nil || f.Identity.Subject != "alice@"+tt.tenant || v.asked.Load() != tt.asked {
			t.Errorf("%+v: %+v, %v, asked %d times", tt, f.Identity, err, v.asked.Load())
		}
		if kept == nil {
			kept = chain.Keep(f, r)
		}
		clear(r.Header[0].Value)
	}
	if id, err := kept.Verify(t.Context()); err != nil || id.Subject != "alice@acme" || v.asked.Load() != 3 {
		t.Errorf("verified again it is %+v, %v, asked %d times", id, err, v.asked.Load())
	}
	if id, err := kept.Verify(WithMaxAge(t.Context(), 0)); err != nil || id.Subject != "alice@acme" || v.asked.Load() != 4 {
		t.Errorf("verified anew it is %+v, %v, asked %d times", id, err, v.asked.Load())
	}
}

// TestCredentialKey: everything that a verifier may have retained makes a difference.
func TestCredentialKey(t *testing.T) {
	c := Credential{From: "header", Value: []byte("key")}
	if credentialKey(c, nil) != CredentialDigest([]byte("key")) {
		t.Error("the key of a credential alone is not its digest, by which changes name it")
	}
	seen := map[[32]byte]string{}
	note := func(what string, c Credential, r *Request) {
		k := [32]byte(credentialKey(c, r))
		if other, ok := seen[k]; ok {
			t.Errorf("%s and %s have the same key", what, other)
		}
		seen[k] = what
	}
	note("nothing", c, nil)
	note("an empty request", c, &Request{})
	note("another place", Credential{From: "cookie", Value: []byte("key")}, &Request{})
	x := []byte("x")
	for what, r := range map[string]*Request{
		"path": {Path: x}, "query": {RawQuery: x}, "host": {Host: x}, "origin": {Origin: x}, "has origin": {HasOrigin: true},
		"authorization": {Authorization: x}, "has authorization": {HasAuthorization: true}, "cookie": {Cookie: x}, "tls": {TLS: true},
		"protocols": {Protocols: [][]byte{x}}, "protocols twice": {Protocols: [][]byte{x, x}},
		"header name": {Header: []HeaderField{{Name: x}}}, "header value": {Header: []HeaderField{{Value: x}}},
		"route": {Route: "x"}, "address": {Remote: netip.MustParseAddrPort("192.0.2.1:1")},
	} {
		note(what, c, r)
	}
	if n := reflect.TypeFor[Request]().NumField(); n != len(seen)-5 { // without a request, empty, from another place; protocols and header twice
		t.Errorf("a request has %d fields: is one missing here?", n)
	}
	a, b := &Request{Remote: netip.MustParseAddrPort("192.0.2.1:1")}, &Request{Remote: netip.MustParseAddrPort("192.0.2.1:2")}
	if credentialKey(c, a) != credentialKey(c, b) {
		t.Error("the port counts")
	}
}

func TestSizeOf(t *testing.T) {
	id := &session.Identity{Subject: "1"}
	small := sizeOf(id)
	id.Grants = []string{strings.Repeat("g", 1000)}
	id.Claims = map[string]any{"a": []any{strings.Repeat("c", 5000), 1.5, map[string]any{"b": true}}}
	if n := sizeOf(id); small < 200 || n < small+6000 || n > small+7000 {
		t.Errorf("%d, then %d bytes", small, n)
	}
	var nested any
	for range 1000 {
		nested = []any{nested}
	}
	if n := sizeOfValue(nested, 0); n < 1<<20 {
		t.Errorf("what is nested deeply has %d bytes", n)
	}
}

func TestNewCacheRefuses(t *testing.T) {
	v := verifyFunc(accept)
	for name, c := range map[string]CacheConfig{
		"no verifier":  {Name: "v"},
		"odd name":     {Name: "a b", Verifier: v},
		"negative ttl": {Verifier: v, TTL: -1},
		"negative":     {Verifier: v, NegativeTTL: -1},
		"entries":      {Verifier: v, MaxEntries: -1},
		"bytes":        {Verifier: v, MaxBytes: -1},
	} {
		if _, err := NewCache(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	r := prometheus.NewRegistry()
	r.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_auth_cache_total", Help: "Another."}))
	if _, err := NewCache(CacheConfig{Verifier: v, Registerer: r}); err == nil {
		t.Error("a name that is taken: no error")
	}
}

func BenchmarkCacheHit(b *testing.B) {
	c := newCache(b, verifyFunc(accept))
	cred := Credential{From: "header", Value: []byte(aliceKey), Request: &Request{}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Verify(b.Context(), cred); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCacheMiss(b *testing.B) {
	c := newCache(b, verifyFunc(accept))
	ctx := WithMaxAge(b.Context(), 0)
	cred := Credential{From: "header", Value: []byte(aliceKey), Request: &Request{}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Verify(ctx, cred); err != nil {
			b.Fatal(err)
		}
	}
}
