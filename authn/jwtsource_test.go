package authn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/authn/internal/jwks"
)

// jwkOf writes the public half of a test key, as RFC 7517 has it.
func jwkOf(t testing.TB, kind string, more map[string]any) map[string]any {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	m := map[string]any{"kid": kind}
	switch k := testKeys()[kind].Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		raw := must(k.Bytes())
		size := (len(raw) - 1) / 2
		m["kty"], m["crv"], m["x"], m["y"] = "EC", k.Params().Name, b64(raw[1:1+size]), b64(raw[1+size:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k)
	}
	for name, value := range more {
		m[name] = value
	}
	return m
}

func jwkSet(keys ...map[string]any) string {
	return string(must(json.Marshal(map[string]any{"keys": keys})))
}

// answers is an http.RoundTripper that answers each request with the text that it returns.
type answers func(*http.Request) (string, error)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := a(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// newFetchingJWT returns a verifier that fetches keys, closed at the end of the test.
func newFetchingJWT(t testing.TB, set string, change func(*JWTConfig)) *JWT {
	t.Helper()
	c := JWTConfig{
		Algorithms: []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}, JWKSURL: "https://issuer.test/keys", Now: fixedNow,
		Transport: answers(func(*http.Request) (string, error) { return set, nil }),
	}
	if change != nil {
		change(&c)
	}
	v := must(NewJWT(c))
	t.Cleanup(func() {
		if err := errors.Join(v.Close(), v.Close()); err != nil {
			t.Error(err)
		}
	})
	return v
}

// signedBy makes a token with that header, alg included, and the usual claims.
func signedBy(t testing.TB, key crypto.Signer, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.GetSigningMethod(header["alg"].(string)), jwt.MapClaims{"exp": 3976214400, "user_id": 1, "iss": "https://issuer.test"})
	for name, value := range header {
		token.Header[name] = value
	}
	return must(token.SignedString(key))
}

func TestJWTFetchedKeys(t *testing.T) {
	set := jwkSet(jwkOf(t, "rsa", nil), jwkOf(t, "p256", map[string]any{"alg": "ES256"}), jwkOf(t, "p384", nil), jwkOf(t, "ed", map[string]any{"use": "sig"}),
		jwkOf(t, "small", nil), map[string]any{"kty": "oct", "k": "c2VjcmV0", "kid": "secret"})
	v := newFetchingJWT(t, set, nil)
	keys := testKeys()
	type header = map[string]any
	for _, c := range []struct {
		name   string
		key    string
		header header
		reason Reason
	}{
		{"RS256", "rsa", header{"alg": "RS256", "kid": "rsa"}, ""},
		{"PS256", "rsa", header{"alg": "PS256", "kid": "rsa"}, ""},
		{"ES256", "p256", header{"alg": "ES256", "kid": "p256"}, ""},
		{"ES384", "p384", header{"alg": "ES384", "kid": "p384"}, ""},
		{"EdDSA", "ed", header{"alg": "EdDSA", "kid": "ed"}, ""},
		{"an algorithm that is not configured", "rsa", header{"alg": "RS512", "kid": "rsa"}, ReasonBadAlgorithm},
		{"the kid of another key", "p256", header{"alg": "ES256", "kid": "rsa"}, ReasonBadSignature},
		{"another key of that type", "p256", header{"alg": "ES256", "kid": "p384"}, ReasonBadSignature},
		{"a short key", "small", header{"alg": "RS256", "kid": "small"}, ReasonBadSignature},
		{"a published secret", "ed", header{"alg": "EdDSA", "kid": "secret"}, ReasonBadSignature},
		{"no kid, and several keys", "ed", header{"alg": "EdDSA"}, ReasonBadSignature},
		{"kid is null", "ed", header{"alg": "EdDSA", "kid": nil}, ReasonMalformed},
		{"kid is empty", "ed", header{"alg": "EdDSA", "kid": ""}, ReasonBadSignature},
		{"unknown kid", "ed", header{"alg": "EdDSA", "kid": "ed2"}, ReasonBadSignature},
		{"kid in other letters", "ed", header{"alg": "EdDSA", "kid": "Ed"}, ReasonBadSignature},
		{"kid with a line end", "ed", header{"alg": "EdDSA", "kid": "ed\n"}, ReasonMalformed},
		{"kid is an object", "ed", header{"alg": "EdDSA", "kid": header{"a": 1}}, ReasonMalformed},
		{"kid is long", "ed", header{"alg": "EdDSA", "kid": strings.Repeat("k", 1025)}, ReasonMalformed},
		{"its own key in the header", "p256", header{"alg": "ES256", "kid": "x", "jwk": jwkOf(t, "p256", nil), "jku": "https://evil.test/keys"}, ReasonBadSignature},
		{"crit", "ed", header{"alg": "EdDSA", "kid": "ed", "crit": []string{"exp"}}, ReasonBadAlgorithm},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := signedBy(t, keys[c.key], c.header)
			id, err := verify(t, v, token)
			if c.reason != "" {
				wantRefusal(t, err, ErrRejected, c.reason, secretsOf(token)...)
			} else if err != nil || id.Subject != "1" || id.Source != "jwt" {
				t.Fatalf("got %+v, %v", id, err)
			}
		})
	}
	// A secret is made of what everybody can read: the attack of RFC 8725 section 2.1.
	token := sign(`{"alg":"HS256","kid":"rsa"}`, `{"exp":3976214400,"user_id":1}`, testKeys()["rsa"].Public().(*rsa.PublicKey).N.Bytes())
	_, err := verify(t, v, token)
	wantRefusal(t, err, ErrRejected, ReasonBadAlgorithm, secretsOf(token)...)
}

// TestJWTFetchedOnlyKey: without a kid the only key that fits is meant.
func TestJWTFetchedOnlyKey(t *testing.T) {
	v := newFetchingJWT(t, jwkSet(jwkOf(t, "ed", nil), jwkOf(t, "p521", nil)), nil)
	if id, err := verify(t, v, signedBy(t, testKeys()["ed"], map[string]any{"alg": "EdDSA"})); err != nil || id.Subject != "1" {
		t.Errorf("got %+v, %v", id, err)
	}
	_, err := verify(t, v, signedBy(t, testKeys()["p256"], map[string]any{"alg": "ES256"}))
	wantRefusal(t, err, ErrRejected, ReasonBadSignature)
}

// TestJWTFetchedLate: while keys cannot be fetched nobody is rejected, and when they come, nobody has to start anything.
func TestJWTFetchedLate(t *testing.T) {
	set, token := jwkSet(jwkOf(t, "ed", nil)), signedBy(t, testKeys()["ed"], map[string]any{"alg": "EdDSA", "kid": "ed"})
	synctest.Test(t, func(t *testing.T) {
		up := make(chan struct{})
		r := prometheus.NewRegistry()
		v := newFetchingJWT(t, "", func(c *JWTConfig) {
			c.Name, c.Registerer = "oidc", r
			c.Transport = answers(func(*http.Request) (string, error) {
				select {
				case <-up:
					return set, nil
				default:
					return "", errors.New("connection refused")
				}
			})
		})
		_, err := verify(t, v, token)
		wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, secretsOf(token)...)
		if err := v.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "oidc: https://issuer.test/keys: connection refused") {
			t.Errorf("Check: got %v", err)
		}
		_, err = verify(t, v, token[:20])
		wantRefusal(t, err, ErrRejected, ReasonMalformed) // what is no token needs no key
		close(up)
		time.Sleep(2 * time.Second)
		if id, err := verify(t, v, token); err != nil || id.Source != "oidc" {
			t.Errorf("got %+v, %v", id, err)
		}
		if err := v.Check(t.Context()); err != nil {
			t.Errorf("Check: got %v", err)
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
		if _, err := verify(t, v, token); err != nil {
			t.Errorf("after Close: %v", err) // a handshake that began before
		}
		time.Sleep(jwks.DefaultInterval)
		_, err = verify(t, v, signedBy(t, testKeys()["ed"], map[string]any{"alg": "EdDSA", "kid": "new"}))
		wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable)
	})
}

// TestJWTFetchedTooOld: when the issuer has not answered for so long that its keys may have been withdrawn, nobody is let in,
// and nobody rejected.
func TestJWTFetchedTooOld(t *testing.T) {
	set, token := jwkSet(jwkOf(t, "ed", nil)), signedBy(t, testKeys()["ed"], map[string]any{"alg": "EdDSA", "kid": "ed"})
	for configured, bound := range map[time.Duration]time.Duration{0: DefaultJWKSMaxStale, time.Hour: time.Hour, -1: 0} {
		synctest.Test(t, func(t *testing.T) {
			var down atomic.Bool
			v := newFetchingJWT(t, "", func(c *JWTConfig) {
				c.JWKSMaxStale = configured
				c.Transport = answers(func(*http.Request) (string, error) {
					if down.Load() {
						return "", errors.New("connection refused")
					}
					return set, nil
				})
			})
			if _, err := verify(t, v, token); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			down.Store(true)
			if bound > 0 {
				time.Sleep(bound - time.Second)
				if _, err := verify(t, v, token); err != nil {
					t.Errorf("a second before the end: %v", err)
				}
				time.Sleep(time.Second)
				_, err := verify(t, v, token)
				wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, secretsOf(token)...)
			}
			time.Sleep(48 * time.Hour)
			if _, err := verify(t, v, token); (err == nil) != (bound == 0) {
				t.Errorf("after two days: %v", err)
			}
			down.Store(false)
			time.Sleep(2 * time.Minute)
			if _, err := verify(t, v, token); err != nil {
				t.Errorf("when it answers again: %v", err)
			}
		})
	}
}

// TestJWTDiscovery runs an OpenID issuer over TLS, whose key changes.
func TestJWTDiscovery(t *testing.T) {
	var s *httptest.Server
	mux := http.NewServeMux()
	mux.HandleFunc("/realm/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":"%s/realm","jwks_uri":"%[1]s/keys"}`, s.URL)
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, jwkSet(jwkOf(t, "rsa", nil))) })
	s = httptest.NewTLSServer(mux)
	defer s.Close()
	defer s.Client().CloseIdleConnections()
	v := newFetchingJWT(t, "", func(c *JWTConfig) {
		c.JWKSURL, c.Discover, c.Issuer, c.Audience, c.SubjectClaim, c.Algorithms = "", true, s.URL+"/realm", "app", "sub", nil
		c.Transport = s.Client().Transport
	})
	issue := func(claims jwt.MapClaims) string {
		token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
		token.Header["kid"] = "rsa"
		return must(token.SignedString(testKeys()["rsa"]))
	}
	id, err := verify(t, v, issue(jwt.MapClaims{"iss": s.URL + "/realm", "aud": "app", "sub": "u|1", "exp": 3976214400}))
	if err != nil || id.Subject != "u|1" {
		t.Fatalf("got %+v, %v", id, err)
	}
	_, err = verify(t, v, issue(jwt.MapClaims{"iss": s.URL + "/realm/", "aud": "app", "sub": "u|1", "exp": 3976214400}))
	wantRefusal(t, err, ErrRejected, ReasonBadClaims)
}

func TestJWTFetchingRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		config JWTConfig
		says   string
	}{
		{"a secret as well", JWTConfig{JWKSURL: "https://i.test/k", Secret: []byte(fixtureSecret)}, "want one of them"},
		{"a public key as well", JWTConfig{Discover: true, Issuer: "https://i.test", PublicKey: publicPEM("rsa")}, "want one of them"},
		{"both ways", JWTConfig{JWKSURL: "https://i.test/k", Discover: true, Issuer: "https://i.test"}, "want one of them"},
		{"an HMAC", JWTConfig{JWKSURL: "https://i.test/k", Algorithms: []string{"RS256", "HS256"}}, "HS256 needs a secret"},
		{"no issuer", JWTConfig{Discover: true}, "no issuer"},
		{"an issuer that is no URL", JWTConfig{Discover: true, Issuer: "accounts"}, "cannot be asked"},
		{"no URL", JWTConfig{JWKSURL: "file:///S3CRET"}, "no URL of http or https"},
		{"an unknown algorithm", JWTConfig{JWKSURL: "https://i.test/k", Algorithms: []string{"none"}}, `"none" is not known`},
		{"keys that are always too old", JWTConfig{JWKSURL: "https://i.test/k", JWKSMaxStale: time.Second}, "want 1m0s or more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := NewJWT(c.config)
			if err == nil {
				_ = v.Close()
				t.Fatal("it was accepted")
			}
			if !strings.HasPrefix(err.Error(), "authn: verifier jwt: ") || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "S3CRET") {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// TestIssuerWithKeyID: what the token command makes for a verifier that fetches keys is what that verifier accepts.
func TestIssuerWithKeyID(t *testing.T) {
	c := JWTConfig{JWKSURL: "https://issuer.test/keys", Issuer: "https://issuer.test", Require: map[string]any{"jti": AnyValue, "azp": AnyValue}, Now: fixedNow}
	i := must(NewIssuer(IssuerConfig{JWT: c, KeyID: "rsa", PrivateKey: privatePEM("rsa")}))
	token := must(i.Issue(IssueParams{Subject: "1", TTL: time.Hour}))
	c.Transport = answers(func(*http.Request) (string, error) {
		return jwkSet(jwkOf(t, "ed", nil), jwkOf(t, "rsa", nil), jwkOf(t, "p256", nil)), nil
	})
	v := must(NewJWT(c))
	defer v.Close()
	id, err := verify(t, v, token)
	if err != nil || id.Subject != "1" || len(id.TokenID) < 20 {
		t.Errorf("got %+v, %v", id, err)
	}
}

// FuzzJWTHead signs whatever header comes. Whatever is accepted names the key and an algorithm that fits it, and no extension.
func FuzzJWTHead(f *testing.F) {
	for _, fixture := range loadFixtures(f, "fixtures.json").JWTs {
		if head, err := base64.RawURLEncoding.DecodeString(strings.Split(fixture.Token, ".")[0]); err == nil {
			f.Add(head)
		}
	}
	f.Add([]byte(`{"alg":"EdDSA","kid":"ed","typ":"JWT"}`))
	f.Add([]byte(`{"alg":"HS256","alg":"EdDSA","kid":"p256","kid":"\u0065d","jwk":{"kty":"OKP"}}`))
	f.Add([]byte(`{"alg":"EdDSA","kid":1,"crit":[]}`))
	f.Add([]byte("\x8d\xe7")) // "jec" in base64: also a piece of our own words
	f.Add([]byte(` {"alg":"EdDSA","kid":"unknown","jku":"https://evil.test"}`))
	v := newFetchingJWT(f, jwkSet(jwkOf(f, "ed", nil), jwkOf(f, "p256", nil)), nil)
	b64 := base64.RawURLEncoding.EncodeToString
	f.Fuzz(func(t *testing.T, head []byte) {
		text := b64(head) + "." + b64([]byte(`{"exp":3976214400,"user_id":1}`))
		signature := must(testKeys()["ed"].Sign(nil, []byte(text), crypto.Hash(0)))
		token := text + "." + b64(signature)
		_, err := v.Verify(t.Context(), Credential{Value: []byte(token)})
		if err != nil {
			if !errors.Is(err, ErrRejected) && !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
			wantNoSecret(t, err, secretsOf(token)...)
			return
		}
		var h map[string]any
		if err := json.Unmarshal(head, &h); err != nil {
			t.Fatalf("%q was accepted and is no JSON object: %v", head, err)
		}
		if _, crit := h["crit"]; crit || h["alg"] != "EdDSA" || h["kid"] != "ed" {
			t.Fatalf("%q was accepted", head)
		}
	})
}
