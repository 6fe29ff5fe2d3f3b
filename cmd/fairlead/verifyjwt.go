package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// The proofs that users can be looked up by either.
var (
	_ authn.UserFinder = (*authn.Users)(nil)
	_ authn.UserFinder = (*authn.UserCache)(nil)
)

func (a *assembler) addJWT(ctx context.Context, key string, c *config.Verifier) {
	jc, err := jwtConfig(c)
	if err != nil {
		a.problem(key+".public_key_file", err)
		return
	}
	jc.Registerer, jc.Logger = a.meter("verifier", c.Name), a.logger
	if c.Users != "" {
		if jc.Users, err = a.users(ctx, c); err != nil {
			a.problem(key+".users", err)
			return
		}
	}
	v, err := authn.NewJWT(jc)
	if err != nil {
		a.problem(key, err)
		return
	}
	a.verifiers[c.Name] = v
	a.closers = append(a.closers, v)
}

// inherit takes over what the verifiers of the same names in from have fetched.
func (a *assembly) inherit(from *assembly) {
	for name, v := range a.verifiers {
		v, fetches := v.(*authn.JWT)
		if old, ok := from.verifiers[name].(*authn.JWT); ok && fetches {
			v.Inherit(old)
		}
	}
}

// jwtConfig returns what authn wants to know of a verifier of kind jwt, but for the users. The error is that of reading the
// public key.
func jwtConfig(c *config.Verifier) (authn.JWTConfig, error) {
	jc := authn.JWTConfig{
		Name: c.Name, Algorithms: c.Algorithms, Secret: []byte(c.Secret), JWKSURL: c.JWKSURL, Discover: c.Discover,
		Issuer: c.Issuer, Audience: c.Audience,
		SubjectClaim: c.SubjectClaim, NameClaim: c.NameClaim, GroupsClaim: c.GroupsClaim,
		Require: c.Require, AllowNoExpiry: !c.RequireExpiry, Leeway: c.Leeway, AcceptInactive: c.InactiveUsers == "accept",
	}
	if jc.JWKSMaxStale = c.JWKSMaxStale; jc.JWKSMaxStale == 0 {
		jc.JWKSMaxStale = -1
	}
	if c.JWKSURL != "" || c.Discover {
		// Through the proxy that the environment names, as curl does; a connection is not kept for the next time.
		jc.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 1 << 16}
	}
	if c.PublicKeyFile == "" {
		return jc, nil
	}
	var err error
	jc.PublicKey, err = os.ReadFile(c.PublicKeyFile)
	return jc, err
}

// users returns who looks up the users of a verifier of kind jwt, with what is kept in front of it, as keepAnswers does for
// verifiers. The assembly closes both.
func (a *assembler) users(ctx context.Context, c *config.Verifier) (authn.UserFinder, error) {
	users, err := jwtUsers(ctx, c, &a.databases, a.meter("verifier", c.Name))
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, users)
	if c.CacheTTL == 0 && c.NegativeTTL == 0 {
		return users, nil
	}
	k, err := authn.NewUserCache(authn.UserCacheConfig{
		Name: c.Name, Users: users, TTL: c.CacheTTL, NegativeTTL: c.NegativeTTL, Registerer: a.meter("verifier", c.Name),
	})
	if err != nil {
		return nil, err
	}
	a.keep(k)
	return k, nil
}

// jwtUsers returns who looks up the users of a verifier of kind jwt. The caller closes it. ctx bounds the construction only.
func jwtUsers(ctx context.Context, c *config.Verifier, d *authn.Databases, r prometheus.Registerer) (*authn.Users, error) {
	uc := authn.UsersConfig{Name: c.Name, DSN: c.Users, Model: userModel(c), Field: c.UserField, Databases: d, Registerer: r}
	if c.UserField == config.UserFieldPK {
		uc.Field = ""
	}
	return authn.NewUsers(ctx, uc)
}

// addIssuers makes a verifier that chooses between others, which are there by now.
func (a *assembler) addIssuers(key string, c *config.Verifier) {
	ic := authn.IssuersConfig{Name: c.Name}
	for _, name := range c.Of {
		switch v := a.verifiers[name].(type) {
		case nil:
			return // it has a problem of its own, or is unknown, which config has said
		case *authn.JWT:
			ic.Of = append(ic.Of, v)
		default:
			a.problem(key+".of", fmt.Errorf("%s is not of kind jwt, and only those have an issuer", name))
			return
		}
	}
	v, err := authn.NewIssuers(ic)
	if err != nil {
		a.problem(key+".of", err)
		return
	}
	a.verifiers[c.Name] = v
}
