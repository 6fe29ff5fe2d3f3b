package authn

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestIssuer(t *testing.T) {
	now := testNow.Add(300 * time.Millisecond)
	c := JWTConfig{
		Secret: []byte(fixtureSecret), Issuer: "we", Audience: "us", SubjectClaim: "sub", Keep: []string{"plan"},
		Require: map[string]any{"token_type": "access", "v": 2}, Now: func() time.Time { return now },
	}
	i := must(NewIssuer(IssuerConfig{JWT: c}))
	token, err := i.Issue(IssueParams{
		Subject: "76eedf10", Name: "zoë", Groups: []string{"app_*"}, TTL: 1500 * time.Millisecond, Claims: map[string]any{"plan": "gold"},
	})
	if err != nil {
		t.Fatal(err)
	}
	id, err := verify(t, must(NewJWT(c)), token)
	if err != nil {
		t.Fatal(err)
	}
	if id.Subject != "76eedf10" || id.Name != "zoë" || !reflect.DeepEqual(id.Grants, []string{"app_*"}) || id.Claims["plan"] != "gold" ||
		!id.IssuedAt.Equal(testNow) || !id.Expires.Equal(testNow.Add(2*time.Second)) || len(id.TokenID) < 20 {
		t.Errorf("got %+v", id)
	}
	again := must(i.Issue(IssueParams{Subject: "76eedf10", TTL: time.Hour}))
	if other := must(verify(t, must(NewJWT(c)), again)); other.TokenID == id.TokenID {
		t.Error("two tokens have the same jti")
	}
	for _, change := range []func(*JWTConfig){
		func(c *JWTConfig) { c.Issuer = "they" },
		func(c *JWTConfig) { c.Audience = "" },
		func(c *JWTConfig) { c.Require = map[string]any{"v": 3} },
		func(c *JWTConfig) { c.Secret = []byte(strings.Repeat("x", 32)) },
	} {
		other := c
		change(&other)
		if _, err := verify(t, must(NewJWT(other)), token); err == nil {
			t.Errorf("a verifier with another configuration accepted it: %+v", other)
		}
	}
}

func TestIssuerAlgorithms(t *testing.T) {
	for alg, kind := range keyOf {
		c := IssuerConfig{JWT: JWTConfig{Algorithms: []string{alg}, Now: fixedNow}}
		if c.JWT.Secret = []byte(strings.Repeat("s", 64)); kind != "" {
			c.JWT.Secret, c.PrivateKey = nil, privatePEM(kind)
		}
		for _, public := range []bool{false, true} {
			if kind != "" && public {
				c.JWT.PublicKey = publicPEM(kind)
			}
			token, err := must(NewIssuer(c)).Issue(IssueParams{Subject: "1", TTL: time.Minute})
			if err != nil {
				t.Fatalf("%s: %v", alg, err)
			}
			if kind != "" {
				c.JWT.PublicKey = publicPEM(kind)
			}
			if id, err := verify(t, must(NewJWT(c.JWT)), token); err != nil || id.Subject != "1" {
				t.Errorf("%s: got %+v, %v", alg, id, err)
			}
		}
	}
	// The older forms of a private key.
	rsaKey, ecKey := testKeys()["rsa"].(*rsa.PrivateKey), testKeys()["p256"].(*ecdsa.PrivateKey)
	for alg, private := range map[string][]byte{
		"RS256": toPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)),
		"ES256": toPEM("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ecKey))),
	} {
		i := must(NewIssuer(IssuerConfig{JWT: JWTConfig{Algorithms: []string{alg}}, PrivateKey: private}))
		if _, err := i.Issue(IssueParams{Subject: "1", TTL: time.Minute}); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

func TestNewIssuerRefuses(t *testing.T) {
	secret := []byte(fixtureSecret)
	for name, c := range map[string]struct {
		config IssuerConfig
		want   string
	}{
		"nothing":             {IssuerConfig{}, "no key to sign with"},
		"only a public key":   {IssuerConfig{JWT: JWTConfig{PublicKey: publicPEM("rsa")}}, "no key to sign with"},
		"two keys":            {IssuerConfig{JWT: JWTConfig{Secret: secret}, PrivateKey: privatePEM("rsa")}, "one of them"},
		"short secret":        {IssuerConfig{JWT: JWTConfig{Secret: secret[:20]}}, "at least 32 bytes"},
		"no PEM":              {IssuerConfig{PrivateKey: secret}, "no PEM block"},
		"a public key":        {IssuerConfig{PrivateKey: publicPEM("rsa")}, "PUBLIC KEY"},
		"rubbish":             {IssuerConfig{PrivateKey: toPEM("PRIVATE KEY", secret)}, "no key that could sign"},
		"another public key":  {IssuerConfig{JWT: JWTConfig{Algorithms: []string{"ES256"}, PublicKey: publicPEM("p384")}, PrivateKey: privatePEM("p256")}, "other half"},
		"a broken public key": {IssuerConfig{JWT: JWTConfig{Algorithms: []string{"ES256"}, PublicKey: secret}, PrivateKey: privatePEM("p256")}, "public key"},
		"algorithm and key":   {IssuerConfig{JWT: JWTConfig{Algorithms: []string{"RS256"}}, PrivateKey: privatePEM("p256")}, "needs an RSA public key"},
		"unknown algorithm":   {IssuerConfig{JWT: JWTConfig{Algorithms: []string{"none"}, Secret: secret}}, "not known"},
		"small key":           {IssuerConfig{JWT: JWTConfig{Algorithms: []string{"RS256"}}, PrivateKey: privatePEM("small")}, "2048 bits"},
	} {
		i, err := NewIssuer(c.config)
		if err == nil {
			t.Errorf("%s: got %v", name, i)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error %q does not say %q", name, err, c.want)
		}
		wantNoSecret(t, err, fixtureSecret, fixtureSecret[:20], string(privatePEM("rsa")), string(privatePEM("p256")))
	}
}

func TestIssueRefuses(t *testing.T) {
	i := must(NewIssuer(IssuerConfig{JWT: JWTConfig{Secret: []byte(fixtureSecret), Now: fixedNow}}))
	byName := must(NewIssuer(IssuerConfig{JWT: JWTConfig{Secret: []byte(fixtureSecret), SubjectClaim: "username", Now: fixedNow}}))
	for name, c := range map[string]struct {
		issuer *Issuer
		params IssueParams
		want   string
	}{
		"no subject":       {i, IssueParams{TTL: time.Hour}, "user_id"},
		"odd subject":      {i, IssueParams{Subject: "a\nb", TTL: time.Hour}, "control character"},
		"no ttl":           {i, IssueParams{Subject: "1"}, "exp"},
		"negative ttl":     {i, IssueParams{Subject: "1", TTL: -time.Hour}, "expired"},
		"a claim of ours":  {i, IssueParams{Subject: "1", TTL: time.Hour, Claims: map[string]any{"exp": 1}}, `"exp" is set`},
		"an audience":      {i, IssueParams{Subject: "1", TTL: time.Hour, Claims: map[string]any{"aud": "them"}}, "aud"},
		"too long":         {i, IssueParams{Subject: "1", TTL: time.Hour, Claims: map[string]any{"x": strings.Repeat("x", MaxJWT)}}, "longer than"},
		"no JSON":          {i, IssueParams{Subject: "1", TTL: time.Hour, Claims: map[string]any{"x": func() {}}}, "sign"},
		"name and subject": {byName, IssueParams{Subject: "alice", Name: "bob", TTL: time.Hour}, "differ"},
	} {
		token, err := c.issuer.Issue(c.params)
		if err == nil {
			t.Errorf("%s: got %s", name, token)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error %q does not say %q", name, err, c.want)
		}
	}
	if id := must(verify(t, byName.verifier, must(byName.Issue(IssueParams{Subject: "alice", Name: "alice", TTL: time.Hour})))); id.Name != "alice" || id.Subject != "alice" {
		t.Errorf("got %+v", id)
	}
	if id := must(verify(t, i.verifier, must(i.Issue(IssueParams{Subject: "1", TTL: 1<<63 - 1})))); id.Expires.Year() != 2319 {
		t.Errorf("the longest ttl ends in %v", id.Expires)
	}
	endless := must(NewIssuer(IssuerConfig{JWT: JWTConfig{Secret: []byte(fixtureSecret), AllowNoExpiry: true}}))
	if id := must(verify(t, endless.verifier, must(endless.Issue(IssueParams{Subject: "1"})))); !id.Expires.IsZero() {
		t.Errorf("got %+v", id)
	}
}

// TestIssuerAndVerifierAgree is the promise: whatever Issue returns, the verifier of the same configuration reads back.
func TestIssuerAndVerifierAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := JWTConfig{
			Secret:       []byte(fixtureSecret),
			Issuer:       rapid.SampledFrom([]string{"", "we", `"`}).Draw(t, "issuer"),
			Audience:     rapid.SampledFrom([]string{"", "us"}).Draw(t, "audience"),
			SubjectClaim: rapid.SampledFrom([]string{"", "sub", "uid"}).Draw(t, "subject claim"),
			Leeway:       time.Duration(rapid.Int64Range(0, int64(MaxLeeway)).Draw(t, "leeway")),
			Now:          fixedNow,
		}
		p := IssueParams{
			Subject: rapid.String().Draw(t, "subject"),
			Name:    rapid.String().Draw(t, "name"),
			Groups:  rapid.SliceOfN(rapid.StringMatching(`[a-z_]{1,9}\*?`), 0, 3).Draw(t, "groups"),
			TTL:     time.Duration(rapid.Int64Range(-int64(time.Minute), int64(time.Hour)).Draw(t, "ttl")),
		}
		token, err := must(NewIssuer(IssuerConfig{JWT: c})).Issue(p)
		if err != nil {
			return
		}
		id, err := must(NewJWT(c)).Verify(t.Context(), Credential{Value: []byte(token)})
		if err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		if id.Subject != p.Subject || id.Name != p.Name || len(id.Grants) != len(p.Groups) || id.Expires.Before(testNow.Add(p.TTL)) {
			t.Fatalf("%+v became %+v", p, id)
		}
	})
}
