package main

import (
	"context"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// The proofs that what authn makes is what the gateway asks for.
var (
	_ authn.Verifier = (*authn.DRFToken)(nil)
	_ authn.Verifier = (*authn.JWT)(nil)
	_ authn.Verifier = (*authn.Issuers)(nil)
)

// addVerifiers makes the verifiers of the configuration, those that others choose from first.
func (a *assembler) addVerifiers(ctx context.Context) {
	for i := range a.l.Verifiers {
		c, key := &a.l.Verifiers[i], verifierKey(i)
		switch c.Kind {
		case config.KindDRFToken:
			a.addDRFToken(ctx, key, c)
		case config.KindDjangoSession:
			a.addDjangoSession(ctx, key, c)
		case config.KindJWT:
			a.addJWT(ctx, key, c)
		case config.KindCallback:
			a.addCallback(key, c)
		case config.KindTicket:
			a.addTickets(key, c)
		}
	}
	for i := range a.l.Verifiers {
		if c := &a.l.Verifiers[i]; c.Kind == config.KindIssuers {
			a.addIssuers(verifierKey(i), c)
		}
	}
}

func (a *assembler) addDRFToken(ctx context.Context, key string, c *config.Verifier) {
	v, err := authn.NewDRFToken(ctx, authn.DRFTokenConfig{
		Name: c.Name, DSN: c.DSN, AcceptInactive: c.InactiveUsers == "accept", Registerer: a.meter("verifier", c.Name),
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
