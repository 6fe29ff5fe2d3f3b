package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const wantDSN = "sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE or mysql://USER:PASSWORD@HOST/DATABASE"

func isDSN(dsn string) bool {
	return slices.ContainsFunc([]string{"sqlite:", "postgres://", "postgresql://", "mysql://"}, func(scheme string) bool {
		return strings.HasPrefix(dsn, scheme)
	})
}

func isPostgres(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// checkListen looks at what only PostgreSQL can do.
func (l *Loaded) checkListen(key string, v *Verifier) {
	switch dsn := v.Database(); {
	case !v.Listen:
	case v.Kind == KindJWT && dsn == "" && v.UsersFile == "":
		l.add(key+".listen", "there is no database to hear from: nobody is looked up; want users as well, or false")
	case dsn != "" && !isPostgres(dsn):
		l.add(key+".listen", "only PostgreSQL tells of changes (LISTEN); want a dsn that begins with postgres://, or false and a short cache_ttl")
	}
}

// checkSession looks at a verifier of Django's sessions: what its engine needs.
func (l *Loaded) checkSession(key string, v *Verifier) {
	l.checkDSN(key, v.DSN) // every engine needs the user
	l.checkListen(key, v)
	if v.Secret == "" && v.SecretFile == "" {
		l.add(key+".secret", "is missing; want SECRET_KEY of the Django settings, or secret_file, or the environment variable FAIRLEAD_VERIFIER_%s_SECRET",
			envName(v.Name))
	}
	if v.Engine == "file" && v.SessionDir == "" {
		l.add(key+".session_dir", "is missing; want SESSION_FILE_PATH of the Django settings, or the folder for temporary files where that is not set")
	}
	if v.CookieAge <= 0 {
		l.add(key+".cookie_age", "is %v; want SESSION_COOKIE_AGE of the Django settings, such as \"336h\"", v.CookieAge)
	}
	if _, err := time.LoadLocation(v.TimeZone); err != nil {
		l.add(key+".time_zone", "%q is no time zone here; want TIME_ZONE of the Django settings where USE_TZ is False, such as \"Europe/Berlin\", or empty", v.TimeZone)
	}
}

func (l *Loaded) checkJWTKeys(key string, v *Verifier) {
	var set []string
	for _, k := range []struct {
		name string
		has  bool
	}{
		{"secret", v.Secret != ""}, {"public_key_file", v.PublicKeyFile != ""}, {"jwks_url", v.JWKSURL != ""}, {"discover", v.Discover},
	} {
		if k.has {
			set = append(set, k.name)
		}
	}
	switch {
	case len(set) > 1:
		l.add(key+"."+set[1], "%s is set as well; want one: a secret for HS256 and its like, a public key or a JWKS for the others", set[0])
	case len(set) == 0 && v.SecretFile == "":
		l.add(key, "has no key; want secret, secret_file, public_key_file, jwks_url or discover, or the environment variable FAIRLEAD_VERIFIER_%s_SECRET",
			envName(v.Name))
	}
	if v.JWKSURL != "" {
		l.checkURL(key+".jwks_url", v.JWKSURL)
	}
	if v.JWKSMaxStale < 0 || v.JWKSMaxStale > 0 && v.JWKSMaxStale < time.Minute {
		l.add(key+".jwks_max_stale", "is %v; want \"1m\" or more, or \"0s\" for no bound", v.JWKSMaxStale)
	}
	if v.Discover && v.Issuer == "" {
		l.add(key+".issuer", "is missing; want the issuer's URL, under which its OpenID configuration is found")
	}
	l.checkListen(key, v)
	if v.Users != "" && !isDSN(v.Users) {
		l.add(key+".users", "begins with none of sqlite:, postgres:// and mysql://; want %s", wantDSN)
	}
}

func (l *Loaded) checkSigned(key string, a *Authorizer) {
	if a.Secret == "" && a.SecretFile == "" {
		l.add(key+".secret", "is missing; want what the values are signed with: SECRET_KEY for those of Django's signing.dumps, or secret_file")
	}
	if a.ValueName == "" {
		l.add(key+".value_name", "is missing; want the name of the %s that holds the value", a.ValueIn)
	}
	l.checkNotNegative(key+".max_age", int64(a.MaxAge))
}

// checkOf looks at a list of the names of other entries: all are those that there are, fit those of them that can be meant.
func (l *Loaded) checkOf(key string, of []string, own, what string, fit, all []string) {
	if len(of) == 0 {
		l.add(key+".of", "is empty; want the names of the %ss to choose from%s", what, known(fit))
	}
	for i, name := range of {
		switch {
		case name == own:
			l.add(key+".of", "names itself; want other %ss", what)
		case !slices.Contains(all, name):
			l.add(key+".of", "%s", unknownName(what, name, fit))
		case slices.Contains(of[:i], name):
			l.add(key+".of", "has %q twice", name)
		}
	}
}

// checkURL never quotes the URL: it may have a password.
func (l *Loaded) checkURL(key, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		l.add(key, "is missing or no URL; want one such as \"https://app.example.com/fairlead/\"")
		return
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			l.add(key, "has a port that cannot be; want 1 to 65535")
		}
	}
}

// checkTimeout looks at the time for an answer. The default, longer than a short handshake, is nobody's mistake.
func (l *Loaded) checkTimeout(key string, d time.Duration) {
	switch most := l.Limits.HandshakeTimeout; {
	case d <= 0:
		l.add(key, "is %v; want more than 0, such as \"2s\"", d)
	case d > most && most >= leastTimeout && l.origins[key].Layer != LayerDefault:
		l.add(key, "is %v, and no handshake waits so long; want at most limits.handshake_timeout, which is %v", d, most)
	}
}

// checkGrants looks for a route whose authorizer asks for what none of its credentials can bring.
func (l *Loaded) checkGrants(key string, r *Route) {
	if len(r.Join) == 0 || !l.goesByGrants(r.Authorize) || slices.ContainsFunc(r.Credentials, l.brings) {
		return
	}
	l.add(key+".authorize", "nobody could connect: %q goes by the groups that a credential lists, and the route has none that lists any; "+
		"want one with a verifier of kind \"jwt\", \"issuers\", \"callback\" or \"ticket\", or another authorizer", r.Authorize)
}

// goesByGrants reports whether the authorizer asks nobody, and believes the credential alone.
func (l *Loaded) goesByGrants(authorizer string) bool {
	grants := func(name string) bool {
		i := l.AuthorizerIndex(name)
		return i >= 0 && l.Authorizers[i].Kind == KindGrants
	}
	i := l.AuthorizerIndex(authorizer)
	if i < 0 || l.Authorizers[i].Kind != KindAny {
		return grants(authorizer)
	}
	of := l.Authorizers[i].Of
	return len(of) > 0 && !slices.ContainsFunc(of, func(name string) bool { return !grants(name) })
}

// brings reports whether a credential can list groups, or its verifier is unknown: that is a mistake of its own.
func (l *Loaded) brings(c Credential) bool {
	i := l.VerifierIndex(c.Verifier)
	return i < 0 || l.Verifiers[i].Kind != KindDRFToken && l.Verifiers[i].Kind != KindDjangoSession
}
