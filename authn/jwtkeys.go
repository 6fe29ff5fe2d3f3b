package authn

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// minRSABits is the least that RFC 7518 section 3.3 allows.
const minRSABits = 2048

// algorithms are the ones that a configuration can name (RFC 7518 section 3.1, RFC 8037 section 3.1). "none" is not one.
var algorithms = [...]jwt.SigningMethod{
	jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512,
	jwt.SigningMethodRS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512,
	jwt.SigningMethodPS256, jwt.SigningMethodPS384, jwt.SigningMethodPS512,
	jwt.SigningMethodES256, jwt.SigningMethodES384, jwt.SigningMethodES512,
	jwt.SigningMethodEdDSA,
}

func algorithm(name string) (jwt.SigningMethod, error) {
	for _, m := range algorithms {
		if m.Alg() == name {
			return m, nil
		}
	}
	return nil, fmt.Errorf("algorithm %q is not known: want HS256, RS256, PS256, ES256, their 384 and 512, or EdDSA", name)
}

// checkKey returns an error unless tokens can be signed with m and verified with key. A key has the type of its family,
// so that the bytes of a public key are never taken for a secret (RFC 8725 section 2.1).
func checkKey(m jwt.SigningMethod, key any) error {
	switch m := m.(type) {
	case *jwt.SigningMethodHMAC:
		secret, ok := key.([]byte)
		if !ok {
			return fmt.Errorf("%s needs a secret, not a public key", m.Name)
		}
		if n := m.Hash.Size(); len(secret) < n {
			return fmt.Errorf("%s needs a secret of at least %d bytes (RFC 7518 section 3.2), and this one has %d", m.Name, n, len(secret))
		}
		return nil
	case *jwt.SigningMethodRSA:
		return checkRSA(m.Name, key)
	case *jwt.SigningMethodRSAPSS:
		return checkRSA(m.Name, key)
	case *jwt.SigningMethodECDSA:
		if k, ok := key.(*ecdsa.PublicKey); !ok || k.Curve.Params().BitSize != m.CurveBits {
			return fmt.Errorf("%s needs a public key on the curve P-%d", m.Name, m.CurveBits)
		}
		return nil
	default: // EdDSA is the only one left
		if _, ok := key.(ed25519.PublicKey); !ok {
			return fmt.Errorf("%s needs an Ed25519 public key", m.Alg())
		}
		return nil
	}
}

// checkFetched returns an error unless tokens signed with m can be verified with a public key.
func checkFetched(m jwt.SigningMethod) error {
	if _, ok := m.(*jwt.SigningMethodHMAC); ok {
		return fmt.Errorf("%s needs a secret, and keys that anybody can fetch are none", m.Alg())
	}
	return nil
}

func checkRSA(name string, key any) error {
	k, ok := key.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("%s needs an RSA public key", name)
	}
	if n := k.N.BitLen(); n < minRSABits {
		return fmt.Errorf("%s needs an RSA key of at least %d bits (RFC 7518 section 3.3), and this one has %d", name, minRSABits, n)
	}
	return nil
}

// checkSecret refuses what somebody gave as a secret and everybody may know.
func checkSecret(secret []byte) error {
	if block, _ := pem.Decode(secret); block != nil || bytes.HasPrefix(bytes.TrimSpace(secret), []byte("-----BEGIN ")) {
		return errors.New("the secret is a PEM file: a public key belongs into the public key, and is no secret")
	}
	return nil
}

// ParsePublicKeyPEM reads the first block of a PEM file: a public key (PKIX), an RSA public key (PKCS #1) or a
// certificate, whose chain and dates are not looked at. The key is an *rsa.PublicKey, an *ecdsa.PublicKey or an
// ed25519.PublicKey. A private key is refused: a server that only verifies should not have it.
func ParsePublicKeyPEM(b []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
		return nil, errors.New("the PEM block is a private key: give its public half (openssl pkey -pubout)")
	default:
		return nil, fmt.Errorf("the PEM block %.40q is not PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("PEM block %s: %w", block.Type, err)
	}
	switch key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return key, nil
	}
	return nil, fmt.Errorf("PEM block %s: a %T signs no tokens", block.Type, key)
}

// parsePrivateKeyPEM reads the first block of a PEM file: PKCS #8, PKCS #1 or SEC 1. Its errors say nothing of the key.
func parsePrivateKeyPEM(b []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("the PEM block %.40q is not PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY", block.Type)
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, fmt.Errorf("the PEM block %s holds no key that could sign", block.Type)
	}
	return signer, nil
}
