package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// Bounds of an RSA key. More bits than that are a way to keep a verifier busy, and no more secure.
const (
	minRSABits = 2048 // RFC 7518 section 3.3
	maxRSABits = 8192
)

// Key is one public key of a set.
type Key struct {
	ID        string // kid; "" where it has none
	Algorithm string // alg, the only one that it may be used with; "" leaves that to its type
	Public    crypto.PublicKey
}

// jwk is what we read of a JSON Web Key (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2).
type jwk struct {
	Type       string   `json:"kty"`
	ID         string   `json:"kid"`
	Algorithm  string   `json:"alg"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`

	Curve string `json:"crv"`
	X     string `json:"x"`
	Y     string `json:"y"`

	N string `json:"n"`
	E string `json:"e"`

	Private json.RawMessage `json:"d"`
	Secret  json.RawMessage `json:"k"`
}

// Parse reads a JWK set. The keys are an *rsa.PublicKey, an *ecdsa.PublicKey or an ed25519.PublicKey each, in the order of
// the set. What cannot verify a signature is left out, as RFC 7517 section 5 advises, and said in skipped: keys for
// encryption, of a type or a curve that is not known, malformed ones, secrets, and private keys, since one that was
// published proves nothing. It may be called by many goroutines.
func Parse(b []byte) (keys []Key, skipped []error, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, nil, errors.New("it is no JSON object with a list of keys (RFC 7517 section 5)")
	}
	if set.Keys == nil {
		return nil, nil, errors.New(`it has no list "keys" (RFC 7517 section 5)`)
	}
	for i, raw := range set.Keys {
		k, err := parseKey(raw)
		if err != nil {
			skipped = append(skipped, fmt.Errorf("key %d: %w", i+1, err))
			continue
		}
		keys = append(keys, k)
	}
	return keys, skipped, nil
}

func parseKey(raw []byte) (Key, error) {
	var j jwk
	if err := json.Unmarshal(raw, &j); err != nil {
		return Key{}, errors.New("it is no JSON object with texts")
	}
	switch {
	case j.Private != nil:
		return Key{}, errors.New("it is private, and everybody can read it: who signed with it cannot be known")
	case j.Secret != nil:
		return Key{}, errors.New("it is a secret, and everybody can read it")
	case j.Use != "" && j.Use != "sig":
		return Key{}, fmt.Errorf("its use is %.20q, not sig", j.Use)
	case j.Operations != nil && !slices.Contains(j.Operations, "verify"):
		return Key{}, errors.New("verify is not one of its key_ops")
	}
	k := Key{ID: j.ID, Algorithm: j.Algorithm}
	var err error
	switch j.Type {
	case "RSA":
		k.Public, err = j.rsa()
	case "EC":
		k.Public, err = j.ecdsa()
	case "OKP":
		k.Public, err = j.ed25519()
	default:
		err = fmt.Errorf("its type is %.20q, not RSA, EC or OKP", j.Type)
	}
	return k, err
}

// rsa returns the key of RFC 7518 section 6.3.1.
func (j *jwk) rsa() (*rsa.PublicKey, error) {
	n, err := number(j.N)
	if err != nil {
		return nil, fmt.Errorf("n: %w", err)
	}
	e, err := number(j.E)
	if err != nil {
		return nil, fmt.Errorf("e: %w", err)
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	if bits := modulus.BitLen(); bits < minRSABits || bits > maxRSABits || modulus.Bit(0) == 0 {
		return nil, fmt.Errorf("n has %d bits, want an odd number of %d to %d", bits, minRSABits, maxRSABits)
	}
	if exponent.BitLen() > 31 || exponent.Int64() < 3 || exponent.Bit(0) == 0 {
		return nil, errors.New("e is not odd, or not from 3 to 2147483647")
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, nil
}

// ecdsa returns the key of RFC 7518 section 6.2.1. The point is checked to be on its curve.
func (j *jwk) ecdsa() (*ecdsa.PublicKey, error) {
	var curve elliptic.Curve
	switch j.Curve {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	default:
		return nil, fmt.Errorf("its curve is %.20q, not P-256, P-384 or P-521", j.Curve)
	}
	size := (curve.Params().BitSize + 7) / 8
	x, errX := number(j.X)
	y, errY := number(j.Y)
	if errX != nil || errY != nil || len(x) != size || len(y) != size {
		return nil, fmt.Errorf("x or y is not %d bytes of base64url", size)
	}
	point := slices.Concat([]byte{4}, x, y) // uncompressed: SEC 1 section 2.3.4
	k, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, fmt.Errorf("x and y are no point of %s", j.Curve)
	}
	return k, nil
}

// ed25519 returns the key of RFC 8037 section 2.
func (j *jwk) ed25519() (ed25519.PublicKey, error) {
	if j.Curve != "Ed25519" {
		return nil, fmt.Errorf("its curve is %.20q, not Ed25519", j.Curve)
	}
	x, err := number(j.X)
	if err != nil || len(x) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("x is not %d bytes of base64url", ed25519.PublicKeySize)
	}
	return ed25519.PublicKey(x), nil
}

// number decodes a Base64urlUInt (RFC 7518 section 2).
func number(text string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) == 0 {
		return nil, errors.New("it is missing or no base64url")
	}
	return b, nil
}
