package authn

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// IssuerConfig says which tokens an [Issuer] makes.
type IssuerConfig struct {
	// JWT is the configuration of the verifier that is to accept them. The first of its algorithms signs. Its PublicKey
	// may be empty where PrivateKey is set. Name, Registerer, Users and where keys are fetched are not used.
	JWT JWTConfig
	// KeyID is the kid in the header of tokens; "" leaves it out. A verifier that fetches keys wants it.
	KeyID string
	// PrivateKey is PEM (PKCS #8, PKCS #1 or SEC 1), the other half of JWT.PublicKey. Empty where JWT.Secret is set.
	PrivateKey []byte
}

// Issuer makes tokens that the verifier of the same configuration accepts, for people at a terminal and for tests. It is
// fixed after NewIssuer and may be used by many goroutines.
type Issuer struct {
	config   JWTConfig // with the defaults filled in
	method   jwt.SigningMethod
	keyID    string
	key      any
	verifier *JWT
	now      func() time.Time
}

// IssueParams is what one token says.
type IssueParams struct {
	Subject string         // the user's primary key
	Name    string         // "" leaves the claim out
	Groups  []string       // nil leaves the claim out
	TTL     time.Duration  // rounded up to a second; 0 leaves exp out, where the configuration allows that
	Claims  map[string]any // further claims, which cannot replace those that the issuer sets
}

// NewIssuer checks the configuration and returns the issuer. An error never holds the key.
func NewIssuer(c IssuerConfig) (*Issuer, error) {
	i := &Issuer{config: c.JWT, keyID: c.KeyID, now: c.JWT.Now}
	i.config.Name, i.config.Registerer, i.config.Users = "issuer", nil, nil
	if i.config.JWKSURL != "" || i.config.Discover {
		i.config.JWKSURL, i.config.Discover = "", false
		if len(i.config.Algorithms) == 0 {
			i.config.Algorithms = []string{jwt.SigningMethodRS256.Name}
		}
	}
	if i.now == nil {
		i.now = time.Now
	}
	i.config.SubjectClaim = orDefault(c.JWT.SubjectClaim, "user_id")
	i.config.NameClaim = orDefault(c.JWT.NameClaim, "username")
	i.config.GroupsClaim = orDefault(c.JWT.GroupsClaim, "groups")
	if len(i.config.Algorithms) == 0 {
		i.config.Algorithms = []string{jwt.SigningMethodHS256.Name}
	}
	if err := i.setKey(c); err != nil {
		return nil, fmt.Errorf("authn: issuer: %w", err)
	}
	var err error
	if i.method, err = algorithm(i.config.Algorithms[0]); err != nil {
		return nil, fmt.Errorf("authn: issuer: %w", err)
	}
	if i.verifier, err = NewJWT(i.config); err != nil {
		return nil, err
	}
	return i, nil
}

// setKey finds the key to sign with, and completes the verifier's.
func (i *Issuer) setKey(c IssuerConfig) error {
	if len(c.JWT.Secret) > 0 {
		if len(c.PrivateKey) > 0 {
			return errors.New("it has a secret and a private key: want one of them")
		}
		i.key = c.JWT.Secret
		return nil
	}
	if len(c.PrivateKey) == 0 {
		return errors.New("it has no key to sign with: want a secret or a private key")
	}
	private, err := parsePrivateKeyPEM(c.PrivateKey)
	if err != nil {
		return fmt.Errorf("private key: %w", err)
	}
	i.key = private
	if len(c.JWT.PublicKey) > 0 {
		public, err := ParsePublicKeyPEM(c.JWT.PublicKey)
		if err != nil {
			return fmt.Errorf("public key: %w", err)
		}
		if k, ok := public.(interface{ Equal(crypto.PublicKey) bool }); !ok || !k.Equal(private.Public()) {
			return errors.New("the private key is not the other half of the public key")
		}
		return nil
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return fmt.Errorf("private key: %w", err)
	}
	i.config.PublicKey = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return nil
}

// Issue returns a signed token with a fresh jti. It refuses to make one that the verifier would refuse, with that reason.
func (i *Issuer) Issue(p IssueParams) (string, error) {
	if i.config.NameClaim == i.config.SubjectClaim && p.Name != "" && p.Name != p.Subject {
		return "", fmt.Errorf("authn: the claim %q is both subject and name, and they differ", i.config.NameClaim)
	}
	now := i.now()
	c := jwt.MapClaims{i.config.SubjectClaim: p.Subject, "iat": now.Unix(), "jti": rand.Text()}
	if p.Name != "" {
		c[i.config.NameClaim] = p.Name
	}
	if p.Groups != nil {
		c[i.config.GroupsClaim] = p.Groups
	}
	if p.TTL != 0 {
		c["exp"] = now.Add(p.TTL).Add(time.Second - time.Nanosecond).Unix()
	}
	if i.config.Issuer != "" {
		c["iss"] = i.config.Issuer
	}
	if i.config.Audience != "" {
		c["aud"] = i.config.Audience
	}
	for name, value := range i.config.Require {
		if _, set := c[name]; !set || value != AnyValue {
			c[name] = value
		}
	}
	for name, value := range p.Claims {
		if _, taken := c[name]; taken {
			return "", fmt.Errorf("authn: the claim %q is set by the issuer", name)
		}
		c[name] = value
	}
	unsigned := jwt.NewWithClaims(i.method, c)
	if i.keyID != "" {
		unsigned.Header["kid"] = i.keyID
	}
	token, err := unsigned.SignedString(i.key)
	if err != nil {
		return "", fmt.Errorf("authn: cannot sign: %w", err)
	}
	if _, err := i.verifier.Verify(context.Background(), Credential{Value: []byte(token)}); err != nil {
		return "", fmt.Errorf("authn: the verifier would refuse such a token: %w", err)
	}
	return token, nil
}
