package authn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

type extractFunc func(*Request) (Credential, error)

func (f extractFunc) Extract(r *Request) (Credential, error) { return f(r) }

type verifyFunc func(context.Context, Credential) (*session.Identity, error)

func (f verifyFunc) Verify(ctx context.Context, c Credential) (*session.Identity, error) {
	return f(ctx, c)
}

// only accepts one key, whose owner has that subject.
func only(key, subject string) Verifier {
	return verifyFunc(func(_ context.Context, c Credential) (*session.Identity, error) {
		if string(c.Value) != key {
			return nil, reject(ReasonUnknownToken, "there is no such key")
		}
		return &session.Identity{Subject: subject, Source: "only"}, nil
	})
}

func failing(err error) Verifier {
	return verifyFunc(func(context.Context, Credential) (*session.Identity, error) { return nil, err })
}

func TestChainFirstPresentDecides(t *testing.T) {
	chain := must(NewChain(
		Source{Extractor: must(NewHeader("Authorization", "Token")), Verifier: only("ka", "a")},
		Source{Extractor: must(NewQuery("token")), Verifier: only("kb", "b")},
		Source{Extractor: must(NewCookie("JWT")), Verifier: only("kc", "c")},
	))
	for _, c := range []struct {
		name, auth, query, cookie string
		subject                   string
		reason                    Reason
	}{
		{name: "header", auth: "Token ka", subject: "a"},
		{name: "query", query: "token=kb", subject: "b"},
		{name: "cookie", cookie: "JWT=kc", subject: "c"},
		{name: "all", auth: "Token ka", query: "token=kb", cookie: "JWT=kc", subject: "a"},
		{name: "a wrong scheme is absent", auth: "Bearer ka", query: "token=kb", subject: "b"},
		{name: "an empty parameter is absent", query: "token=", cookie: "JWT=kc", subject: "c"},
		{name: "a rejected one is final", auth: "Token other", query: "token=kb", reason: ReasonUnknownToken},
		{name: "a malformed one is final", auth: "Token", query: "token=kb", reason: ReasonMalformed},
		{name: "none", reason: ReasonNoCredential},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := query(c.query)
			r.Authorization, r.HasAuthorization = []byte(c.auth), c.auth != ""
			r.Cookie = []byte(c.cookie)
			id, err := chain.Authenticate(t.Context(), &r)
			switch {
			case c.reason == ReasonNoCredential:
				wantRefusal(t, err, ErrAbsent, c.reason)
			case c.reason != "":
				wantRefusal(t, err, ErrRejected, c.reason)
			case err != nil || id.Subject != c.subject:
				t.Fatalf("got %+v, %v, want %s", id, err, c.subject)
			}
		})
	}
}

func TestChainNeverTurnsAFaultIntoAnAnswer(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name     string
		verifier error
		extract  error
		kind     error
		reason   Reason
	}{
		{"unavailable", &Error{Kind: ErrUnavailable, Reason: ReasonVerifierUnavailable, Err: boom}, nil, ErrUnavailable, ReasonVerifierUnavailable},
		{"unavailable since it was rejected", &Error{Kind: ErrUnavailable, Reason: ReasonVerifierUnavailable, Err: ErrRejected}, nil, ErrUnavailable, ReasonVerifierUnavailable},
		{"unavailable since nothing was there", &Error{Kind: ErrUnavailable, Reason: ReasonVerifierUnavailable, Err: ErrAbsent}, nil, ErrUnavailable, ReasonVerifierUnavailable},
		{"rejected since nothing was there", &Error{Kind: ErrRejected, Reason: ReasonExpired, Err: ErrAbsent}, nil, ErrRejected, ReasonExpired},
		{"an extractor's rejection since nothing was there", nil, &Error{Kind: ErrRejected, Reason: ReasonMalformed, Err: ErrAbsent}, ErrRejected, ReasonMalformed},
		{"wrapped refusal", fmt.Errorf("more: %w", &Error{Kind: ErrRejected, Reason: ReasonExpired, Err: boom}), nil, ErrRejected, ReasonExpired},
		{"bare rejection", fmt.Errorf("my own: %w", ErrRejected), nil, ErrRejected, ReasonUnknownToken},
		{"any other error", boom, nil, ErrUnavailable, ReasonVerifierUnavailable},
		{"cancelled", context.Canceled, nil, ErrUnavailable, ReasonVerifierUnavailable},
		{"forbidden from a verifier", &Error{Kind: ErrForbidden, Reason: ReasonForbidden, Err: nil}, nil, ErrForbidden, ReasonForbidden},
		{"neither identity nor error", nil, nil, ErrUnavailable, ReasonVerifierUnavailable},
		{"an extractor's rejection", nil, ErrRejected, ErrRejected, ReasonMalformed},
		{"an extractor's fault", nil, boom, ErrUnavailable, ReasonVerifierUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			extractor := extractFunc(func(*Request) (Credential, error) { return Credential{}, c.extract })
			chain := must(NewChain(Source{Extractor: extractor, Verifier: failing(c.verifier)}, Source{Extractor: extractor, Verifier: only("", "never")}))
			id, err := chain.Authenticate(t.Context(), &Request{})
			if id != nil {
				t.Fatalf("got the identity %+v", id)
			}
			if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(KindOf(err), c.kind) || e.Reason != c.reason {
				t.Fatalf("got %v, want %v (%s)", err, c.kind, c.reason)
			}
			kept := &Kept{source: &Source{Verifier: failing(c.verifier)}}
			if _, err := kept.Verify(t.Context()); c.extract == nil && !errors.Is(KindOf(err), c.kind) {
				t.Errorf("asked again it is %v, want %v", err, c.kind)
			}
			if cause := cmpErr(c.verifier, c.extract); cause != nil && !errors.Is(err, cause) {
				t.Errorf("%v has lost its cause %v", err, cause)
			}
		})
	}
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func TestNewChain(t *testing.T) {
	if c, err := NewChain(Source{Verifier: only("", "")}); err == nil {
		t.Errorf("a source without an extractor gave %v", c)
	}
	if c, err := NewChain(Source{Extractor: must(NewCookie("a"))}); err == nil {
		t.Errorf("a source without a verifier gave %v", c)
	}
	_, err := must(NewChain()).Authenticate(t.Context(), &Request{})
	wantRefusal(t, err, ErrAbsent, ReasonNoCredential)
}

func TestChainChallengeAndPrefixes(t *testing.T) {
	v := only("", "")
	token, bearer := must(NewHeader("Authorization", "Token")), must(NewHeader("authorization", "Bearer"))
	for _, c := range []struct {
		name       string
		extractors []Extractor
		challenge  string
		prefixes   []string
	}{
		{"none", nil, `Bearer realm="fairlead"`, nil},
		{"cookie", []Extractor{must(NewCookie("JWT"))}, `Bearer realm="fairlead"`, nil},
		{"token", []Extractor{token}, `Token realm="fairlead"`, nil},
		{
			"two schemes, once each",
			[]Extractor{token, bearer, must(NewHeader("Authorization", "TOKEN"))},
			`Token realm="fairlead", Bearer realm="fairlead"`, nil,
		},
		{
			"headers that no challenge asks for",
			[]Extractor{must(NewHeader("X-Token", "Key")), must(NewHeader("Authorization", ""))},
			`Bearer realm="fairlead"`, nil,
		},
		{
			"subprotocols",
			[]Extractor{must(NewSubprotocol("bearer.")), token, must(NewSubprotocol("key."))},
			`Token realm="fairlead"`,
			[]string{"bearer.", "key."},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sources []Source
			for _, e := range c.extractors {
				sources = append(sources, Source{Extractor: e, Verifier: v})
			}
			chain := must(NewChain(sources...))
			if got := chain.Challenge(); got != c.challenge {
				t.Errorf("Challenge() = %q, want %q", got, c.challenge)
			}
			var prefixes []string
			for _, p := range chain.SubprotocolPrefixes() {
				prefixes = append(prefixes, string(p))
			}
			if !slices.Equal(prefixes, c.prefixes) {
				t.Errorf("SubprotocolPrefixes() = %q, want %q", prefixes, c.prefixes)
			}
		})
	}
}

func TestCredentialHidesItsValue(t *testing.T) {
	c := Credential{From: "cookie", Value: []byte("SECRET")}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "credential", c, "pointer", &c)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "credential", c)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(io.Writer(&log), verb+" "+verb+" ", c, &c)
	}
	for _, secret := range []string{"SECRET", "U0VDUkVU", "83 69 67", "0x53"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the credential is in %s", log.String())
		}
	}
	if !strings.Contains(log.String(), "cookie") {
		t.Errorf("where it came from is missing in %s", log.String())
	}
}

func TestFoundHidesItsCredential(t *testing.T) {
	f := Found{Identity: &session.Identity{Subject: "42"}, By: "cookie, drf", credential: Credential{From: "cookie", Value: []byte("SECRET")}}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "found", f, "pointer", &f)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(io.Writer(&log), verb+" "+verb+" ", f, &f)
	}
	for _, secret := range []string{"SECRET", "U0VDUkVU", "83 69 67", "0x53"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the credential is in %s", log.String())
		}
	}
	if strings.Count(log.String(), "42, by cookie, drf") != 12 || fmt.Sprint(Found{}) != "nobody" {
		t.Errorf("who it is and by what is missing in %s", log.String())
	}
}

func TestErrorText(t *testing.T) {
	cause := errors.New("the cause")
	err := error(&Error{Kind: ErrRejected, Reason: ReasonExpired, Err: cause})
	if got, want := err.Error(), "credential rejected (expired): the cause"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, ErrRejected) || !errors.Is(err, cause) || errors.Is(err, ErrAbsent) {
		t.Error("the error is not what it wraps")
	}
	bare := error(&Error{Kind: ErrAbsent, Reason: ReasonNoCredential, Err: nil})
	if got, want := bare.Error(), "no credential (no_credential)"; got != want || !errors.Is(bare, ErrAbsent) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReasonsAreAll(t *testing.T) {
	all := Reasons()
	if len(all) != 16 || len(slices.Compact(slices.Sorted(slices.Values(all)))) != len(all) {
		t.Errorf("got %d reasons: %q", len(all), all)
	}
	all[0] = "changed"
	if Reasons()[0] != ReasonNoCredential {
		t.Error("the caller can change the set")
	}
}

func TestChainFallsThroughAnAbsenceThatAVerifierFinds(t *testing.T) {
	absent := failing(&Error{Kind: ErrAbsent, Reason: ReasonNoCredential})
	whole := NewWhole()
	chain := must(NewChain(Source{Extractor: whole, Verifier: absent}, Source{Extractor: whole, Verifier: only("", "alice"), Name: "app"}))
	f, err := chain.Find(t.Context(), &Request{})
	if err != nil || f.Identity.Subject != "alice" || f.By != "request, app" {
		t.Fatalf("got %+v, %v", f.Identity, err)
	}
	_, err = must(NewChain(Source{Extractor: whole, Verifier: absent})).Find(t.Context(), &Request{})
	wantRefusal(t, err, ErrAbsent, ReasonNoCredential)
}

func TestChainNamesWhoRefused(t *testing.T) {
	cached := &Error{Kind: ErrRejected, Reason: ReasonInactiveUser}
	chain := must(NewChain(Source{Extractor: NewWhole(), Verifier: failing(cached), Name: "drf"}))
	_, err := chain.Find(t.Context(), &Request{})
	if e, ok := errors.AsType[*Error](err); !ok || e.By != "drf" || e.Reason != ReasonInactiveUser {
		t.Errorf("got %v", err)
	}
	if cached.By != "" {
		t.Error("the verifier's own error was changed: others may hold it")
	}
}

// Present finds what Find would ask about, and asks nobody.
func TestChainPresent(t *testing.T) {
	chain := must(NewChain(
		Source{Extractor: must(NewHeader("Authorization", "Token")), Verifier: failing(nil)},
		Source{Extractor: must(NewQuery("token")), Verifier: failing(nil)},
	))
	for raw, want := range map[string]bool{"": false, "token=": false, "other=x": false, "token=a": true, "token=%zz": true} {
		if got := chain.Present(&Request{RawQuery: []byte(raw)}); got != want {
			t.Errorf("Present(%q) = %v", raw, got)
		}
	}
	if !chain.Present(&Request{HasAuthorization: true, Authorization: []byte("Token")}) {
		t.Error("a header that cannot be read is not there")
	}
}

// To a callback a request brings something where a field comes that goes along.
func TestChainPresentForACallback(t *testing.T) {
	app := newCallback(t, CallbackConfig{URL: "http://app.example.com/", Forward: []string{"Authorization", "X-Token"}})
	kept := must(NewCache(CacheConfig{Verifier: app, TTL: time.Minute}))
	defer kept.Close()
	for _, v := range []Verifier{app, kept, failing(nil)} {
		chain := must(NewChain(Source{Extractor: NewWhole(), Verifier: v}))
		_, sees := v.(sight)
		for name, want := range map[string]bool{"Host": !sees, "Cookie": !sees, "x-token": true, "AUTHORIZATION": true} {
			r := &Request{Header: []HeaderField{{[]byte("User-Agent"), []byte("x")}, {[]byte(name), []byte("x")}}}
			if got := chain.Present(r); got != want {
				t.Errorf("%T, %s: %v, want %v", v, name, got, want)
			}
		}
	}
}
