package authn

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func TestIssuers(t *testing.T) {
	other := []byte(strings.Repeat("o", 32))
	we := newTestJWT(t, func(c *JWTConfig) { c.Name, c.Issuer = "we", "https://we.test" })
	they := newTestJWT(t, func(c *JWTConfig) { c.Name, c.Issuer, c.Secret, c.SubjectClaim = "they", "they", other, "sub" })
	v := must(NewIssuers(IssuersConfig{Of: []*JWT{we, they}}))
	payload := func(iss string) string { return `{"exp":3976214400,"user_id":1,"sub":"2",` + iss + `"x":0}` }
	for _, c := range []struct {
		name, token     string
		source, subject string
		reason          Reason
		by              string
	}{
		{name: "ours", token: signed(payload(`"iss":"https://we.test",`)), source: "we", subject: "1"},
		{name: "theirs", token: sign(hs256Header, payload(`"iss":"they",`), other), source: "they", subject: "2"},
		{name: "the last of two counts, for both", token: signed(payload(`"iss":"they","iss":"https:\/\/we.test",`)), source: "we", subject: "1"},
		{name: "theirs, signed by us", token: signed(payload(`"iss":"they",`)), reason: ReasonBadSignature, by: "they"},
		{name: "ours, signed by them", token: sign(hs256Header, payload(`"iss":"https://we.test",`), other), reason: ReasonBadSignature, by: "we"},
		{name: "ours, expired", token: signed(`{"exp":1,"user_id":1,"iss":"https://we.test"}`), reason: ReasonExpired, by: "we"},
		{name: "none", token: sign(`{"alg":"none"}`, payload(`"iss":"they",`), other), reason: ReasonBadAlgorithm, by: "they"},
		{name: "nobody's", token: signed(payload(`"iss":"https://we.test/",`)), reason: ReasonBadClaims},
		{name: "in another case", token: signed(payload(`"iss":"They",`)), reason: ReasonBadClaims},
		{name: "without iss", token: signed(payload(``)), reason: ReasonBadClaims},
		{name: "null", token: signed(payload(`"iss":null,`)), reason: ReasonBadClaims},
		{name: "empty", token: signed(payload(`"iss":"",`)), reason: ReasonBadClaims},
		{name: "a list", token: signed(payload(`"iss":["they"],`)), reason: ReasonBadClaims},
		{name: "long", token: signed(payload(`"iss":"` + strings.Repeat("a", 1025) + `",`)), reason: ReasonBadClaims},
		{name: "no claims", token: signed(`[]`), reason: ReasonMalformed},
		{name: "no token", token: "KEY", reason: ReasonMalformed},
		{name: "too long", token: signed(payload(`"iss":"they","y":"` + strings.Repeat("y", MaxJWT) + `",`)), reason: ReasonMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := verify(t, v, c.token)
			if c.reason != "" {
				wantRefusal(t, err, ErrRejected, c.reason, secretsOf(c.token)...)
				if e, _ := errors.AsType[*Error](err); e.By != c.by {
					t.Errorf("refused by %q, want %q", e.By, c.by)
				}
			} else if err != nil || id.Source != c.source || id.Subject != c.subject {
				t.Fatalf("got %+v, %v", id, err)
			}
		})
	}
}

func TestNewIssuersRefuses(t *testing.T) {
	named := func(name, issuer string) *JWT {
		return newTestJWT(t, func(c *JWTConfig) { c.Name, c.Issuer = name, issuer })
	}
	for _, c := range []struct {
		config IssuersConfig
		says   string
	}{
		{IssuersConfig{}, "nothing to choose from"},
		{IssuersConfig{Name: "no name", Of: []*JWT{named("a", "a")}}, "cannot be a verifier's name"},
		{IssuersConfig{Of: []*JWT{named("a", "a"), named("b", "")}}, "b has no issuer"},
		{IssuersConfig{Of: []*JWT{named("a", "x"), named("b", "y"), named("c", "x")}}, "a and c have the same issuer"},
	} {
		if _, err := NewIssuers(c.config); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want %q", err, c.says)
		}
	}
}

// FuzzIssuers reads claims that nobody has signed. Only what the chosen verifier accepts is accepted.
func FuzzIssuers(f *testing.F) {
	for _, fixture := range loadFixtures(f, "fixtures.json").JWTs {
		if parts := strings.Split(fixture.Token, "."); len(parts) > 1 {
			if claims, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
				f.Add(claims)
			}
		}
	}
	f.Add([]byte(`{"iss":"we","exp":3976214400,"user_id":1}`))
	f.Add([]byte(`{"iss":"we","iss":{"iss":"we"},"\u0069ss":"we"}`))
	we := newTestJWT(f, func(c *JWTConfig) { c.Issuer = "we" })
	they := newTestJWT(f, func(c *JWTConfig) { c.Issuer, c.Secret = "they", []byte(strings.Repeat("o", 32)) })
	v := must(NewIssuers(IssuersConfig{Of: []*JWT{we, they}}))
	f.Fuzz(func(t *testing.T, claims []byte) {
		token := signed(string(claims))
		_, err := verify(t, v, token)
		_, ours := verify(t, we, token)
		if (err == nil) != (ours == nil) {
			t.Fatalf("%q: got %v, and the verifier alone says %v", claims, err, ours)
		}
		if err != nil {
			wantNoSecret(t, err, secretsOf(token)...)
		}
	})
}
