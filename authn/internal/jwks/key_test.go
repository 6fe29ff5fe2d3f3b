package jwks

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwkOf writes a public key as RFC 7517 has it, with further members.
func jwkOf(t testing.TB, public any, more map[string]any) string {
	t.Helper()
	m := map[string]any{}
	switch k := public.(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		raw, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		size := (len(raw) - 1) / 2
		m["kty"], m["crv"], m["x"], m["y"] = "EC", k.Params().Name, b64(raw[1:1+size]), b64(raw[1+size:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k)
	default:
		t.Fatalf("a %T", public)
	}
	for name, value := range more {
		m[name] = value
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func setOf(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

func newEd25519(t testing.TB) ed25519.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func newECDSA(t testing.TB, c elliptic.Curve) *ecdsa.PublicKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &k.PublicKey
}

// newRSA returns a number of so many bits that is shaped like a modulus: nothing is signed with it here.
func newRSA(bits uint) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
}

func TestParse(t *testing.T) {
	r, p256, p384, p521, ed := newRSA(2048), newECDSA(t, elliptic.P256()), newECDSA(t, elliptic.P384()), newECDSA(t, elliptic.P521()), newEd25519(t)
	keys, skipped, err := Parse([]byte(setOf(
		jwkOf(t, r, map[string]any{"kid": "r", "alg": "RS256", "use": "sig", "x5c": []string{"x"}, "odd": map[string]any{}}),
		jwkOf(t, p256, map[string]any{"kid": "p256", "key_ops": []string{"verify"}}),
		jwkOf(t, p384, nil), jwkOf(t, p521, nil),
		jwkOf(t, ed, map[string]any{"kid": "ed"}),
	)))
	if err != nil || len(skipped) != 0 || len(keys) != 5 {
		t.Fatalf("got %v, %v, %v", keys, skipped, err)
	}
	if keys[0].ID != "r" || keys[0].Algorithm != "RS256" || keys[1].ID != "p256" || keys[2].ID != "" {
		t.Errorf("got %v", keys)
	}
	if !r.Equal(keys[0].Public) || !p256.Equal(keys[1].Public) || !p384.Equal(keys[2].Public) || !p521.Equal(keys[3].Public) || !ed.Equal(keys[4].Public) {
		t.Errorf("got %v", keys)
	}
}

// TestParseRFC reads the keys of RFC 7517 appendix A.1 and RFC 8037 appendix A.2.
func TestParseRFC(t *testing.T) {
	keys, skipped, err := Parse([]byte(`{"keys":[
		{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"},
		{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"},
		{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	if err != nil || len(keys) != 2 || len(skipped) != 1 || !strings.Contains(skipped[0].Error(), `key 1: its use is "enc"`) {
		t.Fatalf("got %v, %v, %v", keys, skipped, err)
	}
	if keys[0].ID != "2011-04-29" || keys[0].Public.(*rsa.PublicKey).N.BitLen() != 2048 || keys[1].Public.(ed25519.PublicKey)[0] != 0xd7 {
		t.Errorf("got %v", keys)
	}
}

func TestParseSkips(t *testing.T) {
	ed, p256 := newEd25519(t), newECDSA(t, elliptic.P256())
	point, _ := p256.Bytes()
	for _, c := range []struct{ name, key, why string }{
		{"a text", `"key"`, "no JSON object"},
		{"null", `null`, `its type is ""`},
		{"a number as kid", jwkOf(t, ed, map[string]any{"kid": 1}), "no JSON object with texts"},
		{"a secret", `{"kty":"oct","k":"AAAA"}`, "is a secret"},
		{"a private key", jwkOf(t, ed, map[string]any{"d": "AAAA"}), "is private"},
		{"for encryption", jwkOf(t, ed, map[string]any{"use": "enc"}), `its use is "enc"`},
		{"only to sign", jwkOf(t, ed, map[string]any{"key_ops": []string{"sign"}}), "verify"},
		{"for nothing", jwkOf(t, ed, map[string]any{"key_ops": []string{}}), "verify"},
		{"an unknown type", `{"kty":"AKP","pub":"AA"}`, `its type is "AKP"`},
		{"X25519", `{"kty":"OKP","crv":"X25519","x":"` + b64(ed) + `"}`, `its curve is "X25519"`},
		{"short Ed25519", `{"kty":"OKP","crv":"Ed25519","x":"` + b64(ed[1:]) + `"}`, "32 bytes"},
		{"secp256k1", `{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}`, `its curve is "secp256k1"`},
		{"short x", `{"kty":"EC","crv":"P-256","x":"` + b64(point[2:33]) + `","y":"` + b64(point[33:]) + `"}`, "32 bytes"},
		{"off the curve", `{"kty":"EC","crv":"P-256","x":"` + b64(point[1:33]) + `","y":"` + b64(point[1:33]) + `"}`, "no point of P-256"},
		{"zero point", `{"kty":"EC","crv":"P-256","x":"` + b64(make([]byte, 32)) + `","y":"` + b64(make([]byte, 32)) + `"}`, "no point"},
		{"no y", `{"kty":"EC","crv":"P-256","x":"` + b64(point[1:33]) + `"}`, "32 bytes"},
		{"short RSA", jwkOf(t, newRSA(2047), nil), "2047 bits"},
		{"long RSA", jwkOf(t, newRSA(8193), nil), "8193 bits"},
		{"even RSA", jwkOf(t, &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537}, nil), "odd"},
		{"exponent 1", jwkOf(t, &rsa.PublicKey{N: newRSA(2048).N, E: 1}, nil), "e is not odd"},
		{"even exponent", jwkOf(t, &rsa.PublicKey{N: newRSA(2048).N, E: 4}, nil), "e is not odd"},
		{"long exponent", jwkOf(t, newRSA(2048), map[string]any{"e": b64([]byte{1, 0, 0, 0, 1})}), "e is not odd"},
		{"no modulus", `{"kty":"RSA","e":"AQAB"}`, "n: it is missing"},
		{"padded modulus", jwkOf(t, newRSA(2048), map[string]any{"n": "AA=="}), "n: it is missing or no base64url"},
		{"no exponent", jwkOf(t, newRSA(2048), map[string]any{"e": ""}), "e: it is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			keys, skipped, err := Parse([]byte(setOf(c.key, jwkOf(t, ed, map[string]any{"kid": "good"}))))
			if err != nil || len(keys) != 1 || keys[0].ID != "good" || len(skipped) != 1 || !strings.Contains(skipped[0].Error(), "key 1: ") || !strings.Contains(skipped[0].Error(), c.why) {
				t.Fatalf("got %v, %v, %v, want only the good key, and %q", keys, skipped, err, c.why)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "null", "[]", "{}", `{"keys":null}`, `{"keys":{}}`, `{"keys":[]`, `<html>`, `{"keys":[]} x`} {
		if keys, skipped, err := Parse([]byte(text)); err == nil {
			t.Errorf("%q: got %v, %v", text, keys, skipped)
		}
	}
	keys, skipped, err := Parse([]byte(`{"keys":[]}`))
	if err != nil || keys != nil || skipped != nil {
		t.Errorf("an empty set: got %v, %v, %v", keys, skipped, err)
	}
}

// FuzzParse reads what an issuer sends. Whatever comes out must be fit to verify with.
func FuzzParse(f *testing.F) {
	f.Add([]byte(setOf(jwkOf(f, newRSA(2048), map[string]any{"kid": "r", "alg": "RS256"}), jwkOf(f, newEd25519(f), nil))))
	f.Add([]byte(setOf(jwkOf(f, newECDSA(f, elliptic.P256()), nil), jwkOf(f, newECDSA(f, elliptic.P521()), map[string]any{"use": "sig"}))))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"},{},null,1]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, skipped, err := Parse(b)
		if err != nil {
			if keys != nil || skipped != nil {
				t.Fatal("keys beside an error")
			}
			return
		}
		for _, k := range keys {
			switch p := k.Public.(type) {
			case *rsa.PublicKey:
				if n := p.N.BitLen(); n < minRSABits || n > maxRSABits || p.E < 3 {
					t.Fatalf("an RSA key of %d bits, e %d", n, p.E)
				}
			case *ecdsa.PublicKey:
				if _, err := p.Bytes(); err != nil {
					t.Fatal(err)
				}
			case ed25519.PublicKey:
				if len(p) != ed25519.PublicKeySize {
					t.Fatalf("%d bytes", len(p))
				}
			default:
				t.Fatal(fmt.Errorf("a %T", p))
			}
		}
	})
}
