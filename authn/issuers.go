package authn

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/fairlead-ws/fairlead/session"
)

// IssuersConfig says between which verifiers an [Issuers] chooses.
type IssuersConfig struct {
	Name string // of the verifier; "" is "issuers"
	Of   []*JWT // each with an issuer of its own. They are the caller's, and used as long as the Issuers is
}

// Issuers verifies the tokens of several issuers that come at the same place. It chooses by the claim iss, which nobody has
// verified by then, and believes nothing else: the chosen [JWT] verifies everything, iss included. So the source of the
// identity is the chosen one. It is fixed after NewIssuers and may be used by many goroutines.
type Issuers struct {
	name string
	of   map[string]*JWT // by issuer
	pool sync.Pool       // of *scratch, without MACs
}

// NewIssuers checks the configuration and returns the verifier.
func NewIssuers(c IssuersConfig) (*Issuers, error) {
	name, err := verifierName(c.Name, "issuers")
	if err != nil {
		return nil, err
	}
	v := &Issuers{name: name, of: make(map[string]*JWT, len(c.Of))}
	v.pool.New = func() any { return &scratch{} }
	if len(c.Of) == 0 {
		return nil, fmt.Errorf("authn: verifier %s: it has nothing to choose from", name)
	}
	for _, of := range c.Of {
		switch other := v.of[of.issuer]; {
		case of.issuer == "":
			return nil, fmt.Errorf("authn: verifier %s: %s has no issuer, so no token would be its own", name, of.name)
		case other != nil:
			return nil, fmt.Errorf("authn: verifier %s: %s and %s have the same issuer, so nobody could choose", name, other.name, of.name)
		}
		v.of[of.issuer] = of
	}
	return v, nil
}

// Verify implements [Verifier]. Like [JWT.Verify] it has nothing of the token in an error.
func (v *Issuers) Verify(ctx context.Context, c Credential) (*session.Identity, error) {
	chosen, err := v.choose(c.Value)
	if err != nil {
		return nil, err
	}
	id, err := chosen.Verify(ctx, c)
	if e, ok := errors.AsType[*Error](err); ok && e.By == "" {
		return nil, &Error{Kind: e.Kind, Reason: e.Reason, Err: e.Err, By: chosen.name}
	}
	return id, err
}

// choose returns the verifier of the token's iss.
func (v *Issuers) choose(token []byte) (*JWT, error) {
	if len(token) > MaxJWT {
		return nil, rejectLongJWT()
	}
	s := v.pool.Get().(*scratch)
	defer func() {
		s.reset()
		v.pool.Put(s)
	}()
	_, payload, _, ok := s.decode(token)
	if !ok {
		return nil, rejectJWTForm()
	}
	if !s.claims.parse(payload) {
		return nil, rejectJWTClaims()
	}
	iss, err := s.claims.appendText(s.text[:0], "iss")
	if err != nil {
		return nil, &Error{Kind: ErrRejected, Reason: ReasonBadClaims, Err: err}
	}
	chosen := v.of[string(iss)]
	if chosen == nil {
		return nil, reject(ReasonBadClaims, "jwt: iss is none of the configured issuers")
	}
	return chosen, nil
}
