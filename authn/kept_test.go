package authn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// retaining is a verifier that looks at a header besides the credential.
type retaining struct {
	Verifier
	again bool
}

func (r retaining) Retain(req *Request) (*Request, bool) {
	v, _ := req.Get("X-Tenant")
	return &Request{Header: []HeaderField{{[]byte("X-Tenant"), bytes.Clone(v)}}}, r.again
}

// seen is a verifier that says what it was asked with.
type seen struct{}

func (seen) Verify(_ context.Context, c Credential) (*session.Identity, error) {
	tenant, _ := c.Request.Get("X-Tenant")
	return &session.Identity{Subject: string(c.Value) + "@" + string(tenant)}, nil
}

func TestChainKeepsWhatIsAskedAgain(t *testing.T) {
	for _, again := range []bool{true, false} {
		chain := must(NewChain(Source{Extractor: must(NewQuery("token")), Verifier: retaining{seen{}, again}, Name: "v"}))
		r := &Request{RawQuery: []byte("token=alice"), Header: []HeaderField{{[]byte("X-Tenant"), []byte("acme")}}}
		f, err := chain.Find(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		k := chain.Keep(f, r)
		if (k != nil) != again {
			t.Fatalf("again is %v, and what is kept %v", again, k)
		}
		if !again {
			continue
		}
		clear(r.RawQuery) // it is borrowed, and the next handshake's now
		clear(r.Header[0].Value)
		if id, err := k.Verify(t.Context()); err != nil || id.Subject != "alice@acme" {
			t.Errorf("verified again it is %+v, %v", id, err)
		}
		if s := fmt.Sprintf("%v %+v %#v", k, k, k); strings.Contains(s, "alice") {
			t.Errorf("it shows the credential: %s", s)
		}
	}
}

// A kept credential goes on with the verifier of the same name at the same place, with what was retained for it, and with no
// other.
func TestChainAdopts(t *testing.T) {
	query, header := must(NewQuery("token")), must(NewHeader("Authorization", "Token"))
	before := must(NewChain(Source{Extractor: query, Verifier: retaining{seen{}, true}, Name: "drf"}))
	r := &Request{RawQuery: []byte("token=alice"), Header: []HeaderField{{[]byte("X-Tenant"), []byte("acme")}}}
	k := before.Keep(must(before.Find(t.Context(), r)), r)
	if k.Digest() != CredentialDigest([]byte("alice")) {
		t.Error("its digest is not that of the credential")
	}
	head, value := DigestHead(k.Digest()), k.credential.Value
	for _, k.credential.Value = range [][]byte{value, nil} { // it is computed once
		if got := k.DigestHead(); got != head || got == 0 {
			t.Errorf("the head of its digest is %x, want %x", got, head)
		}
	}
	k.credential.Value = value
	for name, after := range map[string]*Chain{
		"another verifier": must(NewChain(Source{Extractor: query, Verifier: seen{}, Name: "jwt"})),
		"another place":    must(NewChain(Source{Extractor: header, Verifier: seen{}, Name: "drf"})),
		"no place":         must(NewChain()),
	} {
		if after.Adopt(k) != nil {
			t.Errorf("%s takes it over", name)
		}
	}
	gone := &Error{Kind: ErrRejected, Reason: ReasonUnknownToken}
	for _, s := range []struct {
		v    Verifier
		want string
		kind error
	}{{seen{}, "alice@acme", nil}, {failing(gone), "", ErrRejected}} {
		after := must(NewChain(
			Source{Extractor: header, Verifier: failing(nil), Name: "jwt"}, Source{Extractor: query, Verifier: s.v, Name: "drf"},
		))
		own := after.Adopt(k)
		if got := own.DigestHead(); got != head {
			t.Errorf("taken over the head of its digest is %x, want %x", got, head)
		}
		id, err := own.Verify(t.Context())
		if !errors.Is(err, s.kind) || err == nil && id.Subject != s.want {
			t.Errorf("taken over it is %+v, %v", id, err)
		}
	}
	if id, err := k.Verify(t.Context()); err != nil || id.Subject != "alice@acme" {
		t.Errorf("before it was %+v, %v", id, err)
	}
}

// A callback that wants more of a request than was kept cannot judge it any more; one that wants the same, or less, can.
func TestChainAdoptsForCallbacks(t *testing.T) {
	forwards := func(names ...string) Verifier {
		return newCallback(t, CallbackConfig{URL: "http://127.0.0.1:1/", Forward: names})
	}
	cached := func(v Verifier) Verifier {
		c := must(NewCache(CacheConfig{Verifier: v, TTL: time.Second}))
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	token := must(NewHeader("Authorization", "Token"))
	for _, tt := range []struct {
		name          string
		before, after Verifier
		want          bool
	}{
		{"the same", forwards("Cookie", "Authorization"), forwards("authorization", "cookie"), true},
		{"less", forwards("Cookie", "Authorization"), forwards("Authorization"), true},
		{"nothing", forwards("Cookie"), forwards(), true},
		{"more", forwards("Authorization"), forwards("Authorization", "X-Tenant"), false},
		{"another", forwards("Authorization"), forwards("Cookie"), false},
		{"more, behind a cache", cached(forwards("Authorization")), cached(forwards("Authorization", "X-Tenant")), false},
		{"the same, behind a cache that was not there", forwards("Authorization"), cached(forwards("Authorization")), true},
		{"a callback where there was none", seen{}, forwards(), false},
		{"a callback where there was none, behind caches", cached(seen{}), cached(forwards()), false},
		{"none where there was one", forwards("Cookie"), seen{}, true},
		{"none, behind a cache", seen{}, cached(seen{}), true},
	} {
		k := must(NewChain(Source{Extractor: token, Verifier: tt.before, Name: "app"})).Keep(Found{
			Identity: &session.Identity{Subject: "1"}, source: &Source{Extractor: token, Verifier: tt.before, Name: "app"},
			credential: Credential{From: "header", Value: []byte("t0k3n")},
		}, browser())
		if got := must(NewChain(Source{Extractor: token, Verifier: tt.after, Name: "app"})).Adopt(k); (got != nil) != tt.want {
			t.Errorf("%s: taken over: %v", tt.name, got != nil)
		}
	}
}

// What was found without a credential is not kept.
func TestChainKeepsNothingOfNobody(t *testing.T) {
	if k := must(NewChain()).Keep(Found{Identity: session.Anonymous()}, &Request{}); k != nil {
		t.Errorf("nobody's credential is kept: %v", k)
	}
}
