package authn

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fairlead-ws/fairlead/authn/internal/jwks"
	"github.com/fairlead-ws/fairlead/session"
)

// UserFinder looks a user up by what a token calls it; [Users] is one. ByField may block until ctx ends, and may be called
// by many goroutines. found is false where there is no such user; err says that nobody could say.
type UserFinder interface {
	ByField(ctx context.Context, value string) (u User, found bool, err error)
}

// checkSource looks at what only concerns keys that are fetched.
func (c *JWTConfig) checkSource() error {
	switch {
	case len(c.Secret) > 0 || len(c.PublicKey) > 0:
		return errors.New("it has a key, and where to fetch keys: want one of them")
	case c.JWKSURL != "" && c.Discover:
		return errors.New("it has the URL of the keys, and is to find it: want one of them")
	case c.Discover && c.Issuer == "":
		return errors.New("it has no issuer to ask for its keys")
	}
	return nil
}

// source begins to fetch the keys.
func (c *JWTConfig) source(name string, methods []jwt.SigningMethod) (*jwks.Source, error) {
	algorithms := make([]string, len(methods))
	for i, m := range methods {
		algorithms[i] = m.Alg()
	}
	return jwks.New(jwks.Config{
		Name: name, URL: c.JWKSURL, Issuer: c.Issuer, Algorithms: algorithms, Fits: fitsAlgorithm, MaxStale: c.JWKSMaxStale,
		Transport: c.Transport, Logger: c.Logger, Registerer: c.Registerer,
	})
}

// fitsAlgorithm is checkKey by the name of the algorithm.
func fitsAlgorithm(name string, key crypto.PublicKey) error {
	m, err := algorithm(name)
	if err != nil {
		return err
	}
	return checkKey(m, key)
}

// fetched returns the issuer's key that the header names, for the i'th method. A token without kid means the only one.
func (v *JWT) fetched(ctx context.Context, s *scratch, i int) (any, error) {
	id, err := s.claims.appendText(s.text[:0], "kid")
	if err != nil {
		return nil, &Error{Kind: ErrRejected, Reason: ReasonMalformed, Err: err}
	}
	key, err := v.source.Find(ctx, id, v.methods[i].Alg())
	switch {
	case err == nil:
		return key, nil
	case errors.Is(err, jwks.ErrUnknown) && len(id) == 0:
		return nil, reject(ReasonBadSignature, "jwt: the header has no kid, and the issuer has not exactly one key")
	case errors.Is(err, jwks.ErrUnknown):
		return nil, reject(ReasonBadSignature, "jwt: the issuer has no key with the header's kid and alg")
	default:
		return nil, &Error{Kind: ErrUnavailable, Reason: ReasonVerifierUnavailable, Err: fmt.Errorf("jwt: %w", err)}
	}
}

// lookUp returns the identity of the user that the token stands for: the primary key and the name are those of the table,
// whatever the token calls the user. It says no more than that a user is unknown or inactive, as Django does.
func (v *JWT) lookUp(ctx context.Context, id *session.Identity) (*session.Identity, error) {
	u, found, err := v.users.ByField(ctx, id.Subject)
	switch {
	case err != nil:
		return nil, &Error{Kind: ErrUnavailable, Reason: ReasonVerifierUnavailable, Err: err}
	case !found:
		return nil, reject(ReasonUnknownUser, "jwt: the token is good, and its user is not there")
	case !u.Active && !v.acceptInactive:
		return nil, reject(ReasonInactiveUser, "jwt: the token is good, and its user is not active")
	}
	user := *id
	user.Subject, user.Name, user.TokenID = owned(u.ID, u.Name, id.TokenID)
	return &user, nil
}

// owned returns copies that are parts of one string: a row and a token's texts may be parts of something larger.
func owned(a, b, c string) (_, _, _ string) {
	all := a + b + c
	return all[:len(a)], all[len(a) : len(a)+len(b)], all[len(a)+len(b):]
}

// Check asks for the issuer's keys and for a user that nobody is, and returns what keeps either from answering. With neither
// there is nothing to ask. It blocks as Verify does, changes nothing, and counts as no verification.
func (v *JWT) Check(ctx context.Context) error {
	if v.source != nil {
		if err := v.source.Check(ctx); err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
	}
	if v.users != nil {
		if err := checkUsers(ctx, v.users); err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
	}
	return nil
}

// Inherit takes over the keys that from has fetched, if both fetch the same ones and v has none yet, so that a configuration
// that is read again while the issuer is down goes on with those from before. Any goroutine may call it.
func (v *JWT) Inherit(from *JWT) {
	if v.source != nil && from.source != nil {
		v.source.Inherit(from.source)
	}
}

// Asks reports whether somebody is asked about tokens: an issuer for its keys, or a database for users.
func (v *JWT) Asks() bool { return v.source != nil || v.users != nil }

// PlainKeys reports whether the issuer's keys come over http from another machine, so that whoever can change them on the
// way can be anybody.
func (v *JWT) PlainKeys() bool { return v.source != nil && v.source.Plain() }

// Close ends the fetching of keys, and waits for it. Tokens whose key is there are still verified. It may be called again.
func (v *JWT) Close() error {
	if v.source == nil {
		return nil
	}
	return v.source.Close()
}
