package main

import (
	"fmt"
	"strings"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// The proofs that what authn makes is what the gateway asks for.
var (
	_ authn.Authorizer = (*authn.Grants)(nil)
	_ authn.Authorizer = (*authn.SQL)(nil)
)

// addAuthorizers makes the authorizers of the configuration, those that others choose from first.
func (a *assembler) addAuthorizers() {
	for i := range a.l.Authorizers {
		c, key := &a.l.Authorizers[i], fmt.Sprintf("authorizer[%d]", i)
		switch c.Kind {
		case config.KindGrants:
			a.authorizers[c.Name] = authn.NewGrants(c.Name)
		case config.KindSQL:
			a.addSQL(key, c)
		case config.KindSigned:
			a.addSigned(key, c)
		case config.KindCallback:
			a.addCallbackAuthorizer(key, c)
		}
	}
}

func (a *assembler) addSQL(key string, c *config.Authorizer) {
	params := map[string]string{}
	for name, kind := range c.Params {
		params[name], _ = kind.(string) // checked by config
	}
	v, err := authn.NewSQL(authn.SQLConfig{
		Name: c.Name, DSN: c.DSN, Databases: &a.databases, Query: c.Query, Params: params, PathParams: a.pathParams(c.Name),
	})
	if err != nil {
		a.problem(key, err)
		return
	}
	a.authorizers[c.Name] = v
	a.closers = append(a.closers, v)
}

// pathParams returns the names of the path parameters, but for {group}, of the routes that ask the authorizer.
func (a *assembler) pathParams(authorizer string) []string {
	var names []string
	for _, r := range a.l.Routes {
		if r.Authorize != authorizer {
			continue
		}
		for segment := range strings.SplitSeq(r.Path, "/") {
			name, open := strings.CutPrefix(segment, "{")
			name, closed := strings.CutSuffix(name, "}")
			if name = strings.TrimSuffix(name, "..."); open && closed && name != "group" {
				names = append(names, name)
			}
		}
	}
	return names
}
