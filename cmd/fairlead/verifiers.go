package main

import (
	"context"
	"fmt"
	"os"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// The proofs that what authn makes is what the gateway asks for.
var (
	_ authn.Verifier = (*authn.DRFToken)(nil)
	_ authn.Verifier = (*authn.JWT)(nil)
)

// addVerifiers makes the verifiers of the configuration, those that others choose from first.
func (a *assembler) addVerifiers(ctx context.Context) {
	for i := range a.l.Verifiers {
		c, key := &a.l.Verifiers[i], fmt.Sprintf("verifier[%d]", i)
		switch c.Kind {
		case config.KindDRFToken:
			a.addDRFToken(ctx, key, c)
		case config.KindDjangoSession:
			a.addDjangoSession(ctx, key, c)
		case config.KindJWT:
			a.addJWT(key, c)
		case config.KindCallback:
			a.addCallback(key, c)
		case config.KindTicket:
			a.addTickets(key, c)
		}
	}
}

func (a *assembler) addDRFToken(ctx context.Context, key string, c *config.Verifier) {
	v, err := authn.NewDRFToken(ctx, authn.DRFTokenConfig{
		Name: c.Name, DSN: c.DSN, AcceptInactive: c.InactiveUsers == "accept", Registerer: a.r,
		Databases: &a.databases, Model: userModel(c), Tokens: authn.TokenModel{Table: c.TokenTable, KeyColumn: c.TokenKey, UserColumn: c.TokenUser},
	})
	if err != nil {
		a.problem(key, err)
		return
	}
	a.verifiers[c.Name] = v
	a.closers = append(a.closers, v)
}

// userModel returns where the users of a verifier are.
func userModel(c *config.Verifier) authn.UserModel {
	return authn.UserModel{
		Table: c.UserTable, PrimaryKey: c.UserPK, NameColumn: c.UserName, ActiveColumn: c.UserActive, PasswordColumn: c.UserPassword,
	}
}

func (a *assembler) addJWT(key string, c *config.Verifier) {
	jc, err := jwtConfig(c)
	if err != nil {
		a.problem(key+".public_key_file", err)
		return
	}
	jc.Registerer = a.r
	v, err := authn.NewJWT(jc)
	if err != nil {
		a.problem(key, err)
		return
	}
	a.verifiers[c.Name] = v
}

// jwtConfig returns what authn wants to know of a verifier of kind jwt. The error is that of reading the public key.
func jwtConfig(c *config.Verifier) (authn.JWTConfig, error) {
	jc := authn.JWTConfig{
		Name: c.Name, Algorithms: c.Algorithms, Secret: []byte(c.Secret),
		Issuer: c.Issuer, Audience: c.Audience,
		SubjectClaim: c.SubjectClaim, NameClaim: c.NameClaim, GroupsClaim: c.GroupsClaim,
		Require: c.Require, AllowNoExpiry: !c.RequireExpiry, Leeway: c.Leeway,
	}
	if c.PublicKeyFile == "" {
		return jc, nil
	}
	var err error
	jc.PublicKey, err = os.ReadFile(c.PublicKeyFile)
	return jc, err
}
