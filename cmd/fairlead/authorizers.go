package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// The proofs that what authn makes is what the gateway asks for.
var (
	_ authn.Authorizer = (*authn.Grants)(nil)
	_ authn.Authorizer = (*authn.SQL)(nil)
	_ authn.Authorizer = (*authn.Any)(nil)
	_ authn.Retainer   = (*authn.Any)(nil)
)

// addAuthorizers makes the authorizers of the configuration, those that others choose from first.
func (a *assembler) addAuthorizers() {
	for i := range a.l.Authorizers {
		c, key := &a.l.Authorizers[i], authorizerKey(i)
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
	a.keepDecisions()
	for i := range a.l.Authorizers {
		if a.l.Authorizers[i].Kind == config.KindAny {
			a.addAny(authorizerKey(i), &a.l.Authorizers[i])
		}
	}
}

func (a *assembler) addAny(key string, c *config.Authorizer) {
	var of []authn.Authorizer
	for _, name := range c.Of {
		if i := a.l.AuthorizerIndex(name); i >= 0 && a.l.Authorizers[i].Kind == config.KindAny {
			a.problem(key+".of", fmt.Errorf("%q asks others itself; want those that it asks", name))
			return
		}
		z := a.authorizers[name]
		if z == nil { // it has a problem of its own
			return
		}
		of = append(of, z)
	}
	v, err := authn.NewAny(c.Name, of...)
	if err != nil {
		a.problem(key, err)
		return
	}
	a.authorizers[c.Name] = v
}

func (a *assembler) addSQL(key string, c *config.Authorizer) {
	params := map[string]string{}
	for name, kind := range c.Params {
		params[name], _ = kind.(string) // checked by config
	}
	v, err := authn.NewSQL(authn.SQLConfig{
		Name: c.Name, DSN: c.DSN, Databases: &a.databases, Query: c.Query, Params: params, PathParams: a.pathParams(c.Name),
		Registerer: a.meter("authorizer", c.Name),
	})
	if err != nil {
		a.problem(key, err)
		return
	}
	a.authorizers[c.Name] = v
	a.closers = append(a.closers, v)
}

// asks reports whether a route asks the authorizer, be it by way of one of kind any.
func asks(c *config.Config, r *config.Route, authorizer string) bool {
	if r.Authorize == authorizer {
		return true
	}
	i := c.AuthorizerIndex(r.Authorize)
	return i >= 0 && slices.Contains(c.Authorizers[i].Of, authorizer)
}

// pathParams returns the names of the path parameters, but for {group}, of the routes that ask the authorizer.
func (a *assembler) pathParams(authorizer string) []string {
	var names []string
	for i := range a.l.Routes {
		r := &a.l.Routes[i]
		if !asks(a.l.Config, r, authorizer) {
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
