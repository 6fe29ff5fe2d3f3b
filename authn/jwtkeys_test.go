package authn

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// testKeys are one key of each kind, made once.
var testKeys = sync.OnceValue(func() map[string]crypto.Signer {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return map[string]crypto.Signer{
		"rsa":   must(rsa.GenerateKey(rand.Reader, 2048)),
		"small": must(rsa.GenerateKey(rand.Reader, 1024)),
		"p256":  must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		"p384":  must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"p521":  must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		"ed":    ed,
	}
})

func toPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func publicPEM(kind string) []byte {
	return toPEM("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(testKeys()[kind].Public())))
}

func privatePEM(kind string) []byte {
	return toPEM("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(testKeys()[kind])))
}

// keyOf says which key an algorithm needs.
var keyOf = map[string]string{
	"RS256": "rsa", "RS384": "rsa", "RS512": "rsa", "PS256": "rsa", "PS384": "rsa", "PS512": "rsa",
	"ES256": "p256", "ES384": "p384", "ES512": "p521", "EdDSA": "ed", "HS256": "", "HS384": "", "HS512": "",
}

// TestJWTAlgorithms signs with every algorithm, and verifies with every configuration of one: only its own accepts.
func TestJWTAlgorithms(t *testing.T) {
	secret := []byte(strings.Repeat("s", 64))
	payload := jwt.MapClaims{"exp": 3976214400, "user_id": 1}
	verifiers, tokens := map[string]*JWT{}, map[string]string{}
	for alg, kind := range keyOf {
		c := JWTConfig{Algorithms: []string{alg}, Now: fixedNow}
		key := any(secret)
		if c.Secret = secret; kind != "" {
			c.Secret, c.PublicKey, key = nil, publicPEM(kind), testKeys()[kind]
		}
		verifiers[alg] = must(NewJWT(c))
		tokens[alg] = must(jwt.NewWithClaims(jwt.GetSigningMethod(alg), payload).SignedString(key))
	}
	for alg, token := range tokens {
		for other, v := range verifiers {
			id, err := verify(t, v, token)
			if alg != other {
				wantRefusal(t, err, ErrRejected, ReasonBadAlgorithm, secretsOf(token)...)
				continue
			}
			if err != nil || id.Subject != "1" {
				t.Errorf("%s: got %+v, %v", alg, id, err)
			}
			// One bit of the payload changed.
			parts := strings.Split(token, ".")
			parts[1] = strings.Replace(parts[1], "e", "f", 1)
			_, err = verify(t, v, strings.Join(parts, "."))
			wantRefusal(t, err, ErrRejected, ReasonBadSignature, secretsOf(token)...)
		}
	}
}

func TestJWTSeveralAlgorithms(t *testing.T) {
	v := must(NewJWT(JWTConfig{Algorithms: []string{"RS256", "PS256"}, PublicKey: publicPEM("rsa"), Now: fixedNow}))
	for _, c := range []struct {
		method jwt.SigningMethod
		reason Reason
	}{{jwt.SigningMethodRS256, ""}, {jwt.SigningMethodPS256, ""}, {jwt.SigningMethodRS512, ReasonBadAlgorithm}} {
		token := must(jwt.NewWithClaims(c.method, jwt.MapClaims{"exp": 3976214400, "user_id": 1}).SignedString(testKeys()["rsa"]))
		if _, err := verify(t, v, token); c.reason != "" {
			wantRefusal(t, err, ErrRejected, c.reason)
		} else if err != nil {
			t.Errorf("%s: %v", c.method.Alg(), err)
		}
	}
}

// TestJWTPublicKeyIsNoSecret is the attack of RFC 8725 section 2.1: an HMAC whose secret is the verifier's public key.
func TestJWTPublicKeyIsNoSecret(t *testing.T) {
	public := publicPEM("rsa")
	v := must(NewJWT(JWTConfig{Algorithms: []string{"RS256"}, PublicKey: public, Now: fixedNow}))
	token := sign(hs256Header, `{"exp":3976214400,"user_id":1}`, public)
	_, err := verify(t, v, token)
	wantRefusal(t, err, ErrRejected, ReasonBadAlgorithm, secretsOf(token)...)
	for _, secret := range [][]byte{public, append([]byte("\n "), public...), []byte("-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkq and so on")} {
		if _, err := NewJWT(JWTConfig{Secret: secret}); err == nil {
			t.Error("a PEM file was taken for a secret")
		}
	}
}

func TestJWTRealKeyOfTheFixtures(t *testing.T) {
	f := loadFixtures(t, "fixtures.json")
	v := must(NewJWT(JWTConfig{Algorithms: []string{"RS256"}, PublicKey: []byte(f.RSAPublic), Now: fixedNow}))
	id, err := verify(t, v, f.JWTs["rs256"].Token)
	if err != nil || id.Subject != "1" || id.Name != "alice" {
		t.Errorf("got %+v, %v", id, err)
	}
	_, err = verify(t, v, f.JWTs["valid"].Token)
	wantRefusal(t, err, ErrRejected, ReasonBadAlgorithm)
}

func TestNewJWTRefuses(t *testing.T) {
	secret := []byte(fixtureSecret)
	for _, c := range []struct {
		name   string
		config JWTConfig
		want   string
	}{
		{"nothing", JWTConfig{}, "no key"},
		{"two keys", JWTConfig{Secret: secret, PublicKey: publicPEM("rsa")}, "one of them"},
		{"short secret", JWTConfig{Secret: secret[:31]}, "at least 32 bytes"},
		{"short secret for one of two", JWTConfig{Algorithms: []string{"HS256", "HS512"}, Secret: secret}, "at least 64 bytes"},
		{"short secret for HS384", JWTConfig{Algorithms: []string{"HS384"}, Secret: secret[:47]}, "at least 48 bytes"},
		{"none", JWTConfig{Algorithms: []string{"none"}, Secret: secret}, `"none" is not known`},
		{"lower case", JWTConfig{Algorithms: []string{"hs256"}, Secret: secret}, `"hs256" is not known`},
		{"empty name", JWTConfig{Algorithms: []string{""}, Secret: secret}, `"" is not known`},
		{"HMAC with a public key", JWTConfig{PublicKey: publicPEM("rsa")}, "needs a secret"},
		{"RSA with a secret", JWTConfig{Algorithms: []string{"RS256"}, Secret: secret}, "needs an RSA public key"},
		{"RSA with a curve", JWTConfig{Algorithms: []string{"PS256"}, PublicKey: publicPEM("p256")}, "needs an RSA public key"},
		{"small RSA", JWTConfig{Algorithms: []string{"RS256"}, PublicKey: publicPEM("small")}, "at least 2048 bits"},
		{"wrong curve", JWTConfig{Algorithms: []string{"ES256"}, PublicKey: publicPEM("p384")}, "P-256"},
		{"mixed curves", JWTConfig{Algorithms: []string{"ES256", "ES384"}, PublicKey: publicPEM("p256")}, "P-384"},
		{"EdDSA with RSA", JWTConfig{Algorithms: []string{"EdDSA"}, PublicKey: publicPEM("rsa")}, "Ed25519"},
		{"a secret as public key", JWTConfig{Algorithms: []string{"RS256"}, PublicKey: secret}, "no PEM block"},
		{"a private key", JWTConfig{Algorithms: []string{"RS256"}, PublicKey: privatePEM("rsa")}, "private key"},
		{"too much leeway", JWTConfig{Secret: secret, Leeway: MaxLeeway + 1}, "leeway"},
		{"negative leeway", JWTConfig{Secret: secret, Leeway: -1}, "leeway"},
		{"required list", JWTConfig{Secret: secret, Require: map[string]any{"a": []string{"x"}}}, `"a"`},
		{"required fraction", JWTConfig{Secret: secret, Require: map[string]any{"a": 1.5}}, "float64"},
		{"name with a space", JWTConfig{Secret: secret, Name: "my jwt"}, "my jwt"},
		{"name that is taken", JWTConfig{Secret: secret, Name: "anonymous"}, "anonymous"},
		{"long name", JWTConfig{Secret: secret, Name: strings.Repeat("n", 65)}, "name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := NewJWT(c.config)
			if err == nil {
				t.Fatalf("got %v", v)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error %q does not say %q", err, c.want)
			}
			wantNoSecret(t, err, fixtureSecret, fixtureSecret[:31], string(privatePEM("rsa")))
		})
	}
}

func TestParsePublicKeyPEM(t *testing.T) {
	keys := testKeys()
	rsaKey := keys["rsa"].(*rsa.PrivateKey)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: testNow.Add(-time.Hour)}
	certificate := func(kind string) []byte {
		return toPEM("CERTIFICATE", must(x509.CreateCertificate(rand.Reader, template, template, keys[kind].Public(), keys[kind])))
	}
	for name, c := range map[string]struct {
		pem  []byte
		want crypto.PublicKey
	}{
		"PKIX RSA":               {publicPEM("rsa"), &rsaKey.PublicKey},
		"PKIX ECDSA":             {publicPEM("p384"), keys["p384"].Public()},
		"PKIX Ed25519":           {publicPEM("ed"), keys["ed"].Public()},
		"PKCS1":                  {toPEM("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)), &rsaKey.PublicKey},
		"certificate":            {certificate("p256"), keys["p256"].Public()},
		"the first of a chain":   {append(certificate("ed"), certificate("rsa")...), keys["ed"].Public()},
		"text before":            {append([]byte("subject=x\n"), publicPEM("rsa")...), &rsaKey.PublicKey},
		"empty":                  {nil, nil},
		"no PEM":                 {[]byte("ssh-ed25519 AAAA"), nil},
		"PKCS8 private":          {privatePEM("ed"), nil},
		"PKCS1 private":          {toPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), nil},
		"another block":          {toPEM("DH PARAMETERS", []byte{1}), nil},
		"rubbish in PKIX":        {toPEM("PUBLIC KEY", []byte("rubbish")), nil},
		"rubbish in PKCS1":       {toPEM("RSA PUBLIC KEY", []byte("rubbish")), nil},
		"rubbish in certificate": {toPEM("CERTIFICATE", []byte("rubbish")), nil},
		"a key that only agrees": {toPEM("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(must(ecdh.X25519().GenerateKey(rand.Reader)).PublicKey()))), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParsePublicKeyPEM(c.pem)
			if c.want == nil {
				if err == nil {
					t.Fatalf("got %T", got)
				}
				return
			}
			if equal, ok := got.(interface{ Equal(crypto.PublicKey) bool }); err != nil || !ok || !equal.Equal(c.want) {
				t.Fatalf("got %T, %v, want %T", got, err, c.want)
			}
		})
	}
}

func TestJWTDoesNotShareItsConfiguration(t *testing.T) {
	c := JWTConfig{Secret: []byte(fixtureSecret), Algorithms: []string{"HS256"}, Keep: []string{"email"}, Now: fixedNow}
	v := must(NewJWT(c))
	clear(c.Secret)
	c.Algorithms[0], c.Keep[0] = "none", "x"
	id, err := verify(t, v, loadFixtures(t, "fixtures.json").JWTs["valid"].Token)
	if err != nil || id.Claims["email"] != "alice@example.com" {
		t.Errorf("got %+v, %v", id, err)
	}
}

func TestAuthSecondsCollision(t *testing.T) {
	r := prometheus.NewRegistry()
	r.MustRegister(prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "fairlead_auth_seconds", Help: "another"}, []string{"verifier"}))
	if _, err := NewJWT(JWTConfig{Secret: []byte(fixtureSecret), Registerer: r}); err == nil {
		t.Error("another metric of that name was no error")
	} else if errors.Is(err, ErrRejected) {
		t.Error("a mistake of the configuration is no refusal")
	}
}

func BenchmarkJWT_ES256(b *testing.B) { benchmarkAlgorithm(b, "ES256") }
func BenchmarkJWT_RS256(b *testing.B) { benchmarkAlgorithm(b, "RS256") }
func BenchmarkJWT_EdDSA(b *testing.B) { benchmarkAlgorithm(b, "EdDSA") }

func benchmarkAlgorithm(b *testing.B, alg string) {
	v := must(NewJWT(JWTConfig{Algorithms: []string{alg}, PublicKey: publicPEM(keyOf[alg]), Now: fixedNow}))
	c := jwt.MapClaims{"exp": 3976214400, "user_id": 1}
	benchmarkVerify(b, v, must(jwt.NewWithClaims(jwt.GetSigningMethod(alg), c).SignedString(testKeys()[keyOf[alg]])), true)
}
