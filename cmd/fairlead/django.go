package main

import (
	"context"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // for time_zone, where the machine has no time zones, as in a container

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// The proofs that what authn makes is what the gateway asks for.
var (
	_ authn.Verifier   = (*authn.DjangoSession)(nil)
	_ authn.Authorizer = (*authn.Signed)(nil)
)

func (a *assembler) addDjangoSession(ctx context.Context, key string, c *config.Verifier) {
	zone, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		a.problem(key+".time_zone", fmt.Errorf("%q is no time zone here", c.TimeZone)) // checked by config
		return
	}
	v, err := authn.NewDjangoSession(ctx, authn.DjangoSessionConfig{
		Name: c.Name, Engine: c.Engine, Secret: c.Secret, Fallbacks: secretLines(c.SecretFallbacks), Legacy: c.Legacy,
		Backends: c.Backends, AcceptInactive: c.InactiveUsers == "accept",
		DSN: c.DSN, Databases: &a.databases, Model: userModel(c), Table: c.SessionTable, Location: zone,
		Dir: c.SessionDir, Cookie: c.SessionCookie, CookieAge: c.CookieAge, Registerer: a.meter("verifier", c.Name),
	})
	if err != nil {
		a.problem(key, err)
		return
	}
	a.verifiers[c.Name] = v
	a.closers = append(a.closers, v)
}

func (a *assembler) addSigned(key string, c *config.Authorizer) {
	place := config.Credential{From: c.ValueIn, Name: c.ValueName, Prefix: c.ValueName}
	value, err := extractor(place)
	if err != nil {
		a.problem(key+".value_name", err)
		return
	}
	v, err := authn.NewSigned(authn.SignedConfig{
		Name: c.Name, Format: c.Format, Secret: c.Secret, Fallbacks: secretLines(c.SecretFallbacks),
		Salt: c.Salt, MaxAge: c.MaxAge, Value: value,
	})
	if err != nil {
		a.problem(key, err)
		return
	}
	a.authorizers[c.Name] = v
}

// secretLines returns the secrets of a text that has one on each line. White space around them is none of theirs, and empty
// lines are no secrets.
func secretLines(text string) []string {
	var secrets []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			secrets = append(secrets, line)
		}
	}
	return secrets
}
