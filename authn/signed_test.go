package authn

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/authn/django"
	"github.com/fairlead-ws/fairlead/session"
)

func newSigned(t testing.TB, c SignedConfig) *Signed {
	t.Helper()
	if c.Secret == "" {
		c.Secret = fixtureSecret
	}
	a := must(NewSigned(c))
	a.now = fixtureNow
	return a
}

// djangoValue is what signing.dumps(value, salt="fairlead") is.
func djangoValue(content string, at time.Time) string {
	return must(django.NewSigner(django.SignerConfig{Salt: DefaultSalt, Secret: fixtureSecret})).Dumps([]byte(content), at)
}

// hmacValue is a value of FormatHMAC, with the signature in that encoding.
func hmacValue(content string, encode func([]byte) string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(content))
	h := hmac.New(sha256.New, []byte(fixtureSecret))
	h.Write([]byte(text))
	return text + "." + encode(h.Sum(nil))
}

func grantQuery(value string) *Request {
	return &Request{RawQuery: []byte("token=x&grant=" + url.QueryEscape(value))}
}

var (
	signedAlice = &session.Identity{Subject: "1", Name: "alice", Source: "drf"}
	signedApp   = must(session.ParseGroup("app_1234"))
)

// grantCases are contents of values, and what the error says of each; "" is that alice may join app_1234.
var grantCases = map[string]string{
	`{"group":"app_1234","subject":"1","exp":3976214400}`:            "",
	`{"group":"app_1234","subject":1,"exp":3976214400.5}`:            "",
	`{"group":"app_*","subject":"1","exp":3976214400}`:               "",
	`{"group":"*","subject":"1","exp":3976214400}`:                   "",
	`{"group":["chat_1","app_1234"],"subject":"1","exp":3976214400}`: "",
	`{"group":["a*","b*"],"exp":3976214400,"more":{"x":[1]}}`:        "",
	`{"group":"app_1234","subject":null,"exp":3976214400}`:           "",
	`{"group":"app_123\u0034","exp":3976214400}`:                     "",
	`{"exp":1,"group":"x","group":"app_1234","exp":3976214400}`:      "",
	`{"group":"app_1234","subject":"2","exp":3976214400}`:            "somebody else's",
	`{"group":"app_1234","subject":"01","exp":3976214400}`:           "somebody else's",
	`{"group":"app_1234","subject":"alice","exp":3976214400}`:        "somebody else's",
	`{"group":"app_1234","subject":"","exp":3976214400}`:             `"subject"`,
	`{"group":"app_1234","subject":1.0,"exp":3976214400}`:            `"subject"`,
	`{"group":"app_1234","subject":true,"exp":3976214400}`:           `"subject"`,
	`{"group":"app_1234","subject":["1"],"exp":3976214400}`:          `"subject"`,
	`{"group":"app_1234","subject":"1"}`:                             `"exp"`,
	`{"group":"app_1234","subject":"1","exp":null}`:                  `"exp"`,
	`{"group":"app_1234","subject":"1","exp":"3976214400"}`:          `"exp"`,
	`{"group":"app_1234","subject":"1","exp":NaN}`:                   `"exp"`,
	`{"group":"app_1234","subject":"1","exp":Infinity}`:              `"exp"`,
	`{"group":"app_1234","subject":"1","exp":1e400}`:                 `"exp"`,
	`{"group":"app_1234","subject":"1","exp":3976214400000}`:         `"exp"`, // milliseconds
	`{"group":"app_1234","subject":"1","exp":1795478400}`:            "ended",
	`{"group":"app_1234","subject":"1","exp":-1}`:                    "ended",
	`{"group":"app_1235","subject":"1","exp":3976214400}`:            "not for group",
	`{"group":"app_123","subject":"1","exp":3976214400}`:             "not for group",
	`{"group":"APP_1234","subject":"1","exp":3976214400}`:            "not for group",
	`{"group":"a*p_1234","subject":"1","exp":3976214400}`:            "not for group",
	`{"group":"","subject":"1","exp":3976214400}`:                    "not for group",
	`{"group":[],"subject":"1","exp":3976214400}`:                    "not for group",
	`{"group":["app_1234",1],"subject":"1","exp":3976214400}`:        `"group"`,
	`{"group":{"app_1234":1},"subject":"1","exp":3976214400}`:        `"group"`,
	`{"group":null,"subject":"1","exp":3976214400}`:                  `"group"`,
	`{"Group":"app_1234","subject":"1","exp":3976214400}`:            `"group"`,
	`["app_1234"]`: "object", `"app_1234"`: "object", ``: "object", `{"group":"app_1234"`: "object",
}

// wantGrant fails unless a answers as the case says.
func wantGrant(t *testing.T, a *Signed, r *Request, id *session.Identity, value, want string) {
	t.Helper()
	rule, err := a.Authorize(t.Context(), &Question{Identity: id, Group: signedApp, Request: r})
	if want == "" {
		if err != nil || rule != a.name {
			t.Errorf("got %q, %v", rule, err)
		}
		return
	}
	wantRefusal(t, err, ErrForbidden, ReasonForbidden, value, fixtureSecret)
	if e, _ := errors.AsType[*Error](err); rule != "" || e.By != a.name || !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, %v, want something of %q", rule, err, want)
	}
}

func TestSignedContents(t *testing.T) {
	inDjango, inHMAC := newSigned(t, SignedConfig{}), newSigned(t, SignedConfig{Format: FormatHMAC, Name: "link"})
	for content, want := range grantCases {
		t.Run(content, func(t *testing.T) {
			value := djangoValue(content, fixtureNow())
			wantGrant(t, inDjango, grantQuery(value), signedAlice, value, want)
			for _, encode := range []func([]byte) string{hex.EncodeToString, base64.RawURLEncoding.EncodeToString, base64.URLEncoding.EncodeToString} {
				value = hmacValue(content, encode)
				wantGrant(t, inHMAC, grantQuery(value), signedAlice, value, want)
			}
		})
	}
}

func TestSignedAnonymous(t *testing.T) {
	a := newSigned(t, SignedConfig{})
	for content, want := range map[string]string{
		`{"group":"app_1234","exp":3976214400}`:              "",
		`{"group":"app_1234","subject":"","exp":3976214400}`: "anonymous",
		`{"group":"app_1234","subject":1,"exp":3976214400}`:  "anonymous",
	} {
		value := djangoValue(content, fixtureNow())
		wantGrant(t, a, grantQuery(value), session.Anonymous(), value, want)
	}
}

func TestSignedAge(t *testing.T) {
	a := newSigned(t, SignedConfig{MaxAge: time.Minute})
	for _, c := range []struct {
		content string
		made    time.Time
		want    string
	}{
		{`{"group":"app_1234"}`, fixtureNow().Add(-time.Minute), ""},
		{`{"group":"app_1234"}`, fixtureNow().Add(-time.Minute - time.Second), "too old"},
		{`{"group":"app_1234"}`, fixtureNow().Add(time.Hour), ""}, // Django has no check for the future
		{`{"group":"app_1234"}`, time.Unix(-1<<62, 0), "too old"},
		{`{"group":"app_1234","exp":3976214400}`, fixtureNow().Add(-time.Hour), "too old"},
		{`{"group":"app_1234","exp":1000000000}`, fixtureNow(), "ended"},
	} {
		value := djangoValue(c.content, c.made)
		wantGrant(t, a, grantQuery(value), signedAlice, value, c.want)
	}
}

func TestSignedForgeries(t *testing.T) {
	content := `{"group":"app_1234","subject":"1","exp":3976214400}`
	good, goodHMAC := djangoValue(content, fixtureNow()), hmacValue(content, hex.EncodeToString)
	inDjango, inHMAC := newSigned(t, SignedConfig{}), newSigned(t, SignedConfig{Format: FormatHMAC})
	otherSalt := newSigned(t, SignedConfig{Salt: "other"})
	otherSecret := newSigned(t, SignedConfig{Format: FormatHMAC, Secret: strings.Repeat("x", 32)})
	for _, c := range []struct {
		a           *Signed
		value, want string
	}{
		{inDjango, "", "no signed value"},
		{inHMAC, "", "no signed value"},
		{inDjango, "x", "signed"},
		{inHMAC, "x", "parts"},
		{inHMAC, ".", "parts"},
		{inHMAC, "a.b.c", "parts"},
		{inDjango, goodHMAC, "signed"},
		{inHMAC, good, "parts"},
		{inHMAC, goodHMAC + "0", "parts"},
		{inHMAC, goodHMAC[1:], "signed"},
		{inHMAC, strings.ToUpper(goodHMAC), "signed"},
		{inHMAC, goodHMAC[:len(goodHMAC)-1] + "g", "parts"},
		{otherSalt, good, "signed"},
		{otherSecret, goodHMAC, "signed"},
		{inDjango, djangoValue(content, fixtureNow())[1:], "signed"},
	} {
		t.Run(c.value, func(t *testing.T) { wantGrant(t, c.a, grantQuery(c.value), signedAlice, c.value, c.want) })
	}
	wantGrant(t, inDjango, nil, signedAlice, good, "no request")
	wantGrant(t, inDjango, &Request{RawQuery: []byte("grant=%zz" + good)}, signedAlice, good, "hexadecimal")
	// Old secrets are good, too.
	wantGrant(t, newSigned(t, SignedConfig{Secret: "new", Fallbacks: []string{"newer", fixtureSecret}}), grantQuery(good), signedAlice, good, "")
	wantGrant(t, newSigned(t, SignedConfig{Format: FormatHMAC, Secret: strings.Repeat("n", 32), Fallbacks: []string{fixtureSecret}}),
		grantQuery(goodHMAC), signedAlice, goodHMAC, "")
	// A token with the same secret is no value.
	token := signed(content)
	wantGrant(t, inHMAC, grantQuery(token), signedAlice, token, "signed")
}

// TestSignedEverywhere looks in all places, and asks again with what was kept of each.
func TestSignedEverywhere(t *testing.T) {
	value := hmacValue(`{"group":"app_1234","subject":"1","exp":3976214400}`, hex.EncodeToString)
	for name, c := range map[string]struct {
		e Extractor
		r *Request
	}{
		"query":         {must(NewQuery("the grant")), &Request{RawQuery: []byte("token=SECRET&the+grant=" + url.QueryEscape(value))}},
		"cookie":        {must(NewCookie("grant")), &Request{Cookie: []byte("sessionid=SECRET; grant=" + value)}},
		"header":        {must(NewHeader("X-Grant", "")), &Request{Header: []HeaderField{{[]byte("X-Token"), []byte("SECRET")}, {[]byte("x-grant"), []byte(value)}}}},
		"scheme":        {must(NewHeader("X-Grant", "Grant")), &Request{Header: []HeaderField{{[]byte("x-grant"), []byte("grant " + value)}}}},
		"authorization": {must(NewHeader("Authorization", "Grant")), &Request{Authorization: []byte("Grant " + value), HasAuthorization: true}},
		"subprotocol":   {must(NewSubprotocol("grant.")), &Request{Protocols: [][]byte{[]byte("bearer.SECRET"), []byte("grant." + value)}}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newSigned(t, SignedConfig{Value: c.e, Format: FormatHMAC})
			wantGrant(t, a, c.r, signedAlice, value, "")
			wantGrant(t, a, &Request{}, signedAlice, value, "no signed value")
			kept, again := a.Retain(c.r)
			if !again || kept == nil {
				t.Fatalf("got %v, %v", kept, again)
			}
			for _, b := range [][]byte{c.r.RawQuery, c.r.Cookie, c.r.Authorization} {
				clear(b) // it was borrowed
			}
			for _, f := range c.r.Header {
				clear(f.Value)
			}
			wantGrant(t, a, kept, signedAlice, value, "")
			all := string(kept.RawQuery) + string(kept.Cookie)
			for _, f := range kept.Header {
				all += string(f.Value)
			}
			for _, p := range kept.Protocols {
				all += string(p)
			}
			if strings.Contains(all, "SECRET") {
				t.Errorf("it keeps the credential: %s", all)
			}
			a.now = func() time.Time { return time.Unix(3976214400, 0) }
			wantGrant(t, a, kept, signedAlice, value, "ended")
			if kept, again := a.Retain(&Request{}); kept != nil || !again {
				t.Errorf("of a request without one: %v, %v", kept, again)
			}
			if prefixes := a.SubprotocolPrefixes(); (name == "subprotocol") != (len(prefixes) == 1) {
				t.Errorf("prefixes %q", prefixes)
			}
		})
	}
}

// TestSignedAmongOthers keeps the values of two for one question.
func TestSignedAmongOthers(t *testing.T) {
	value := hmacValue(`{"group":"app_1234","exp":3976214400}`, hex.EncodeToString)
	for name, c := range map[string]struct {
		first, second Extractor
		r             Request
	}{
		"query":       {must(NewQuery("a")), must(NewQuery("b")), Request{RawQuery: []byte("a=x&b=" + value)}},
		"cookie":      {must(NewCookie("a")), must(NewCookie("b")), Request{Cookie: []byte("b=" + value + "; a=x")}},
		"subprotocol": {must(NewSubprotocol("a.")), must(NewSubprotocol("b.")), Request{Protocols: [][]byte{[]byte("a.x"), []byte("b." + value)}}},
		"same":        {must(NewQuery("b")), must(NewQuery("b")), Request{RawQuery: []byte("b=" + value)}},
	} {
		t.Run(name, func(t *testing.T) {
			a := must(NewAny("",
				newSigned(t, SignedConfig{Value: c.first, Format: FormatHMAC, Secret: strings.Repeat("x", 32)}),
				newSigned(t, SignedConfig{Value: c.second, Format: FormatHMAC, Name: "second"}),
			))
			kept, again := a.Retain(&c.r)
			if !again {
				t.Fatal("it cannot be asked again")
			}
			if rule, err := a.Authorize(t.Context(), &Question{Identity: signedAlice, Group: signedApp, Request: kept}); err != nil || rule != "second" {
				t.Errorf("got %q, %v", rule, err)
			}
		})
	}
}

func TestSignedConfig(t *testing.T) {
	for want, c := range map[string]SignedConfig{
		"SECRET_KEY": {},
		"fallback":   {Secret: "s3cr3t", Fallbacks: []string{""}},
		"format":     {Secret: "s3cr3t", Format: "jwt"},
		"at least":   {Secret: "s3cr3t", Format: FormatHMAC},
		"the age":    {Secret: "s3cr3t", MaxAge: -1},
		`"exp"`:      {Secret: strings.Repeat("s3cr3t", 10), Format: FormatHMAC, MaxAge: time.Hour},
		"colons":     {Secret: "s3cr3t", Value: must(NewSubprotocol("grant."))},
		"Whole":      {Secret: "s3cr3t", Value: NewWhole()},
	} {
		if _, err := NewSigned(c); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("got %v, want something of %q", err, want)
		}
	}
}

func FuzzSigned(f *testing.F) {
	inDjango, inHMAC := newSigned(f, SignedConfig{}), newSigned(f, SignedConfig{Format: FormatHMAC})
	for content := range grantCases {
		f.Add(content)
		f.Add(djangoValue(content, fixtureNow()))
		f.Add(hmacValue(content, hex.EncodeToString))
	}
	f.Fuzz(func(t *testing.T, s string) {
		ask := func(a *Signed, value string) bool {
			r := &Request{RawQuery: []byte("grant=" + url.QueryEscape(value))}
			rule, err := a.Authorize(t.Context(), &Question{Identity: signedAlice, Group: signedApp, Request: r})
			if (err == nil) == (rule == "") || err != nil && !errors.Is(err, ErrForbidden) {
				t.Fatalf("got %q, %v", rule, err)
			}
			if err == nil {
				kept, _ := a.Retain(r)
				if _, err := a.Authorize(t.Context(), &Question{Identity: signedAlice, Group: signedApp, Request: kept}); err != nil {
					t.Fatalf("asked again it says %v", err)
				}
			}
			return err == nil
		}
		// As it came, and as the content of a genuine value: both forms must agree.
		ask(inDjango, s)
		ask(inHMAC, s)
		if d, h := ask(inDjango, djangoValue(s, fixtureNow())), ask(inHMAC, hmacValue(s, hex.EncodeToString)); d != h && len(s) < 4000 {
			t.Errorf("%q: %v as Django's, %v as an HMAC", s, d, h)
		}
	})
}

func BenchmarkSigned(b *testing.B) {
	for format, value := range map[string]string{
		FormatDjango: djangoValue(`{"group":"app_1234","subject":"1","exp":3976214400}`, fixtureNow()),
		FormatHMAC:   hmacValue(`{"group":"app_1234","subject":"1","exp":3976214400}`, hex.EncodeToString),
	} {
		b.Run(format, func(b *testing.B) {
			a := newSigned(b, SignedConfig{Format: format})
			q := &Question{Identity: signedAlice, Group: signedApp, Request: grantQuery(value)}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authorize(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
