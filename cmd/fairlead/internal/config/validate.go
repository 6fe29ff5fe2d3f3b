package config

import (
	"fmt"
	"math"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// validate notes every mistake that shows without the other packages.
func (l *Loaded) validate() {
	l.checkAddress("listen.public", l.Listen.Public)
	l.checkAddress("listen.internal", l.Listen.Internal)
	if l.Listen.Public == l.Listen.Internal && !strings.HasSuffix(l.Listen.Public, ":0") {
		l.add("listen.internal", "is the public address as well; want another port, which the public cannot reach")
	}
	l.checkServer()
	l.checkEntries()
	for i := range l.Verifiers {
		l.checkVerifier(i)
	}
	for i := range l.Authorizers {
		l.checkAuthorizer(i)
	}
	for i := range l.Routes {
		l.checkRoute(i)
	}
}

func (l *Loaded) checkAddress(key, address string) {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		l.add(key, "%q is no address; want HOST:PORT, such as 127.0.0.1:8000, or :8000 for all interfaces", address)
	}
}

func between(least, most int64) string {
	if most == math.MaxInt64 {
		return fmt.Sprintf("at least %d", least)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

func (l *Loaded) checkNotNegative(key string, value int64) {
	if value < 0 {
		l.add(key, "is negative; want 0 or more")
	}
}

// checkEntries looks at what the entries of all lists have in common: keys that belong to another kind, and kinds that
// are missing.
func (l *Loaded) checkEntries() {
	walk(reflect.ValueOf(l.Config).Elem(), "", func(path string, table []field, f field) {
		kind := entryKind(table)
		if f.name == "kind" || f.name == "from" {
			if _, mentioned := l.origins[path]; !mentioned && kind == "" {
				l.add(path, "is missing; want%s", f.choices())
			}
			return
		}
		if _, set := l.origins[path]; set && kind != "" && !f.fits(kind) {
			l.add(path, "belongs to %s, and this is %q", oneOf(strings.Split(f.only, ",")), kind)
		}
	})
}

// nameForm is what can name an entry: it must not look like an index, and it stands in environment variables and labels.
var nameForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)

// checkName reports whether the name is good. names are those of the entries before, by the name in variables.
func (l *Loaded) checkName(key, name string, before []string) {
	if !nameForm.MatchString(name) {
		l.add(key, "%q is no name; want a letter, then letters, digits, _ or -", name)
		return
	}
	for _, other := range before {
		if envName(other) == envName(name) {
			l.add(key, "%q is there twice; want a name of its own for each, so that routes and variables can mean one", name)
			return
		}
	}
}

func (l *Loaded) checkVerifier(i int) {
	v, key := &l.Verifiers[i], "verifier"+index(i)
	l.checkName(key+".name", v.Name, l.verifierNames()[:i])
	l.checkNotNegative(key+".cache_ttl", int64(v.CacheTTL))
	l.checkNotNegative(key+".negative_ttl", int64(v.NegativeTTL))
	switch v.Kind {
	case KindDRFToken:
		l.checkDSN(key, v.DSN)
		l.checkListen(key, v)
	case KindDjangoSession:
		l.checkSession(key, v)
	case KindJWT:
		l.checkJWT(key, v)
	case KindIssuers:
		l.checkOf(key, v.Of, v.Name, "verifier", l.namesOfKind(KindJWT), l.verifierNames())
	case KindCallback:
		l.checkURL(key+".url", v.URL)
		l.checkTimeout(key+".timeout", v.Timeout)
	case KindTicket:
		if l.NATS.URL != "" && l.Session.Secret == "" && l.Session.SecretFile == "" {
			l.add("session.secret", "is missing; want the same secret on each node, or a ticket of one would be refused by the others")
		}
	}
}

func (l *Loaded) checkJWT(key string, v *Verifier) {
	if len(v.Algorithms) == 0 {
		l.add(key+".algorithms", "is empty; want the ones that tokens are signed with, such as [\"HS256\"]: a token never chooses")
	}
	l.checkJWTKeys(key, v)
	for _, claim := range sortedKeys(v.Require) {
		switch v.Require[claim].(type) {
		case string, bool, int64:
		default:
			l.add(key+".require."+claim, "is %s; want a text, a whole number, true or false", describe(v.Require[claim]))
		}
	}
}

func (l *Loaded) checkAuthorizer(i int) {
	a, key := &l.Authorizers[i], "authorizer"+index(i)
	l.checkName(key+".name", a.Name, l.authorizerNames()[:i])
	l.checkNotNegative(key+".cache_ttl", int64(a.CacheTTL))
	l.checkNotNegative(key+".negative_ttl", int64(a.NegativeTTL))
	switch a.Kind {
	case KindSQL:
		l.checkSQL(key, a)
	case KindCallback:
		l.checkURL(key+".url", a.URL)
		l.checkTimeout(key+".timeout", a.Timeout)
	case KindSigned:
		l.checkSigned(key, a)
	case KindAny:
		l.checkOf(key, a.Of, a.Name, "authorizer", l.authorizerNamesBut(KindAny), l.authorizerNames())
	}
}

func (l *Loaded) checkSQL(key string, a *Authorizer) {
	l.checkDSN(key, a.DSN)
	if strings.TrimSpace(a.Query) == "" {
		l.add(key+".query", `is missing; want an SQL query that gives a row to members, such as "SELECT 1 FROM grants WHERE user_id = :user AND app_id = :id"`)
	}
	for _, name := range sortedKeys(a.Params) {
		if _, ok := a.Params[name].(string); !ok {
			l.add(key+".params."+name, "is %s; want the name of a type, such as \"int\"", describe(a.Params[name]))
		}
	}
}

// checkDSN never quotes the DSN: it may have a password. A dsn_file that could not be read was noted already.
func (l *Loaded) checkDSN(key, dsn string) {
	_, fromFile := l.origins[key+".dsn_file"]
	switch {
	case dsn == "" && !fromFile:
		l.add(key+".dsn", "is missing; want %s", wantDSN)
	case dsn != "" && !isDSN(dsn):
		l.add(key+".dsn", "begins with none of sqlite:, postgres:// and mysql://; want %s", wantDSN)
	}
}

func (l *Loaded) checkRoute(i int) {
	r, key := &l.Routes[i], "route"+index(i)
	if r.Path == "" {
		l.add(key+".path", `is missing; want a path such as "/ws/{group}"`)
	}
	if l.origins[key+".no_origin"].Layer != LayerDefault && r.NoOrigin == "refuse" && len(r.Origins) == 0 {
		l.add(key+".no_origin", "counts only with a list in origins: without one, clients that send no Origin are let in")
	}
	if l.origins[key+".invalid"].Layer != LayerDefault && r.Invalid == "anonymous" && len(r.Credentials) == 0 {
		l.add(key+".invalid", "the route looks for no credential that could be invalid; want a credential list, or leave invalid out")
	}
	l.checkNotNegative(key+".recheck", int64(r.Recheck))
	switch {
	case r.Recheck > 0 && r.Recheck < time.Second:
		l.add(key+".recheck", "is %v; want 0 for never, or a second and more, such as \"60s\"", r.Recheck)
	case r.Recheck > 0 && r.Authorize == "" && !l.asksAgain(r):
		l.add(key+".recheck", "there is nothing to look at again: the route has no authorizer, and no credential that could be verified again (tickets are used up); want one of them, or leave recheck out")
	}
	if r.Authorize != "" && l.AuthorizerIndex(r.Authorize) < 0 {
		l.add(key+".authorize", "%s", unknownName("authorizer", r.Authorize, l.authorizerNames()))
	}
	if len(r.Credentials) == 0 && r.Anonymous == "refuse" {
		l.add(key, `nobody could connect: it has no credential and refuses anonymous clients; want a credential list, or anonymous = "allow"`)
	} else {
		l.checkGrants(key, r)
	}
	if n := len(r.Join); n > l.Limits.GroupsPerConnection {
		l.add(key+".join", "has %d groups; want at most limits.groups_per_connection, which is %d", n, l.Limits.GroupsPerConnection)
	}
	for j := range r.Credentials {
		l.checkCredential(key+".credential"+index(j), &r.Credentials[j])
	}
}

func (l *Loaded) checkCredential(key string, c *Credential) {
	if c.From != "" && c.From != "subprotocol" && c.From != "request" && c.Name == "" {
		l.add(key+".name", "is missing; want the name of the %s", map[string]string{
			"header": "header field, such as Authorization", "cookie": "cookie", "query": "query parameter, such as token",
		}[c.From])
	}
	if c.From == "subprotocol" && c.Prefix == "" {
		l.add(key+".prefix", `is missing; want what stands before the token, such as "bearer."`)
	}
	v := l.VerifierIndex(c.Verifier)
	switch {
	case c.Verifier == "":
		l.add(key+".verifier", "is missing; want the name of a verifier%s", known(l.verifierNames()))
	case v < 0:
		l.add(key+".verifier", "%s", unknownName("verifier", c.Verifier, l.verifierNames()))
	case c.From == "request" && l.Verifiers[v].Kind != KindCallback && l.Verifiers[v].Kind != "":
		l.add(key+".from", "is \"request\", which holds no credential of its own; want a verifier of kind \"callback\", which looks for itself, or a header, cookie, query or subprotocol")
	}
}

// asksAgain reports whether the route has a credential that can be verified again, or one that is unknown: that is a mistake
// of its own.
func (l *Loaded) asksAgain(r *Route) bool {
	return slices.ContainsFunc(r.Credentials, func(c Credential) bool {
		i := l.VerifierIndex(c.Verifier)
		return i < 0 || l.Verifiers[i].Kind != KindTicket
	})
}

func unknownName(what, name string, all []string) string {
	return fmt.Sprintf("no %s is called %q%s%s", what, name, known(all), didYouMean(nearest(name, all)))
}

func known(all []string) string {
	if len(all) == 0 {
		return "; there is none"
	}
	return "; there is " + oneOf(all)
}

func (c *Config) verifierNames() []string {
	list := make([]string, len(c.Verifiers))
	for i, v := range c.Verifiers {
		list[i] = v.Name
	}
	return list
}

// namesOfKind returns the names of the verifiers of a kind.
func (c *Config) namesOfKind(kind string) (list []string) {
	for _, v := range c.Verifiers {
		if v.Kind == kind {
			list = append(list, v.Name)
		}
	}
	return list
}

// authorizerNamesBut returns the names of the authorizers that are of another kind.
func (c *Config) authorizerNamesBut(kind string) (list []string) {
	for _, a := range c.Authorizers {
		if a.Kind != kind {
			list = append(list, a.Name)
		}
	}
	return list
}

func (c *Config) authorizerNames() []string {
	list := make([]string, len(c.Authorizers))
	for i, a := range c.Authorizers {
		list[i] = a.Name
	}
	return list
}
