package conformance

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Rule is one way in which Fairlead differs from Django on purpose.
type Rule struct {
	Name string // as in docs/from-channels.md
	Why  string
	// Head: the head of the request decides, before anybody looks at Origin or credential.
	Head bool

	// answer returns what Fairlead must answer to the request where Django was seen to answer seen, and whether the rule
	// has anything to say about it.
	answer func(e *Expecter, r *request, seen string) (want string, applies bool)
}

// Rules are asked in this order, which is that in which Fairlead looks at a request; the first that applies decides.
var Rules = []Rule{
	{"head", "a head over head_bytes, or of over 128 lines, is 431", true, headRule},
	{"twice", "two Authorization, Cookie, Host or Origin fields are 400, not one of them chosen", true, twiceRule},
	{"bad-http", "bytes that may not stand in a request line or a field are 400", true, badHTTPRule},
	{"not-websocket", "no WebSocket handshake is 426, also of another version", true, notWebSocketRule},
	{"no-route", "a path without a route is 404, and so is a group of another category", true, noRouteRule},
	{"group-name", "a group is its decoded text: what is no group's name is 400", true, groupNameRule},
	{"origin", "an Origin is scheme, host and port, and nothing else", false, originRule},
	{"inactive", "the token of an inactive user is refused, unless inactive_users says otherwise", false, inactiveRule},
	{"white-space", "only space and tab are white space", false, whiteSpaceRule},
	{"scheme-case", "a scheme has no case, as in RFC 9110 and Django REST framework", false, schemeCaseRule},
	{"jwt-expiry", "a JWT has an exp, and it is a number", false, jwtExpiryRule},
	{"jwt-crit", "a JWT whose head names a crit is refused", false, jwtCritRule},
	{"cookie", "cookies stand between semicolons; one that cannot be read hides no other", false, cookieRule},
	{"query", "one rule for queries: decoded, the last of a name, one without = is none", false, queryRule},
	{"group-id", "the id of a group is a text, and the authorizer decides", false, groupIDRule},
	{"exception", "what raised an exception is a credential that is no good", false, exceptionRule},
	{"status", "401 where the credential is missing or no good, 403 for origin and permission", false, statusRule},
}

// The limits of the conformance routes' configuration, which are the defaults.
const (
	headBytes = 16384
	headLines = 128
)

func headRule(_ *Expecter, r *request, _ string) (string, bool) {
	return "431", r.head > headBytes || len(r.fields) > headLines
}

func twiceRule(_ *Expecter, r *request, _ string) (string, bool) {
	for _, name := range []string{"authorization", "cookie", "host", "origin"} {
		if len(r.all(name)) > 1 {
			return "400", true
		}
	}
	return "", false
}

func badHTTPRule(_ *Expecter, r *request, _ string) (string, bool) {
	for _, c := range []byte(r.target) {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return "400", true
		}
	}
	for _, f := range r.fields {
		for _, c := range []byte(f.value) {
			if c < ' ' && c != '\t' || c == 0x7f {
				return "400", true
			}
		}
	}
	offered := strings.Split(strings.Join(r.all("sec-websocket-protocol"), ","), ",")
	return "400", slices.ContainsFunc(offered, func(p string) bool { p = strings.Trim(p, " \t"); return p != "" && !isToken(p) })
}

func notWebSocketRule(_ *Expecter, r *request, _ string) (string, bool) {
	upgrade, _ := r.get("upgrade")
	version, _ := r.get("sec-websocket-version")
	return "426", !strings.EqualFold(upgrade, "websocket") || version != "13"
}

// leaves are the endpoints of each route but ws.
var leaves = map[string][]string{
	"a": {"who", "socket", "late"}, "b": {"who", "socket", "late"}, "s": {"who", "socket", "late", "proto"},
	"d": {"who", "socket"}, "o": {"who"},
}

func noRouteRule(_ *Expecter, r *request, _ string) (string, bool) {
	if r.route != "ws" {
		for _, leaf := range leaves[r.route] {
			if leaf == r.leaf && !r.slashes {
				return "", false
			}
		}
		return "404", true
	}
	name, ok := r.group()
	if r.slashes || r.leaf == "" || strings.Contains(r.leaf, "/") {
		return "404", true
	}
	i := strings.LastIndexByte(name, '_')
	return "404", ok && (i < 0 || name[:i] != "app" || i == len(name)-1)
}

var groupName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,99}$`)

// group returns the name of the group in the path, and whether it is one.
func (r *request) group() (string, bool) {
	name, err := url.PathUnescape(r.leaf)
	return name, err == nil && groupName.MatchString(name)
}

func groupNameRule(_ *Expecter, r *request, _ string) (string, bool) {
	_, ok := r.group()
	return "400", r.route == "ws" && !ok
}

var originSyntax = regexp.MustCompile(`(?i)^([a-z][a-z0-9+.-]*)://([a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])(:([0-9]{1,5}))?$`)

func originRule(_ *Expecter, r *request, _ string) (string, bool) {
	o, ok := r.get("origin")
	if !ok || o == "null" || r.route != "d" && r.route != "o" {
		return "", false
	}
	m := originSyntax.FindStringSubmatch(o)
	if m != nil && m[5] != "" {
		if port, err := strconv.Atoi(m[5]); err != nil || port > 65535 {
			m = nil
		}
	}
	if m != nil && !r.anyOrigin && !slices.Contains([]string{"http", "https", "ws", "wss"}, strings.ToLower(m[1])) {
		m = nil // a host in the list is one of the web's
	}
	return "403", m == nil
}

// rejected is what the endpoint answers to a credential that is no good.
func (r *request) rejected() string {
	switch r.leaf {
	case "who":
		return "101 anonymous" // invalid = "anonymous"
	case "late":
		return "101 close=4401" // reject = "close"
	}
	return "401"
}

// is returns what the endpoint answers to that user, "" for a credential that is no good.
func (r *request) is(user string) string {
	if user == "" {
		return r.rejected()
	}
	return "101 user=" + user
}

func inactiveRule(_ *Expecter, r *request, seen string) (string, bool) {
	return r.rejected(), strings.HasSuffix(seen, "(inactive)")
}

func whiteSpaceRule(_ *Expecter, r *request, _ string) (string, bool) {
	value, _ := r.get("authorization")
	odd := strings.ContainsFunc(value, func(c rune) bool { return c > 0x7f && unicode.IsSpace(c) }) // in UTF-8
	return r.rejected(), r.route == "a" && (odd || strings.ContainsAny(latin1(value), "\u0085\u00a0"))
}

// latin1 returns s, read as ISO 8859-1, as a header is in WSGI; "" where it is UTF-8.
func latin1(s string) string {
	if utf8.ValidString(s) {
		return ""
	}
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

func schemeCaseRule(e *Expecter, r *request, _ string) (string, bool) {
	value, _ := r.get("authorization")
	words := strings.Fields(value)
	if r.route != "a" || len(words) != 2 || words[0] == "Token" || !strings.EqualFold(words[0], "Token") {
		return "", false
	}
	return r.is(e.facts.token(words[1])), true
}

// jwt returns the token in the cookie of route b.
func (r *request) jwt() (head, claims map[string]any) {
	token, _ := r.cookie("JWT")
	if r.route != "b" {
		return nil, nil
	}
	return decodeJWT(token)
}

func jwtExpiryRule(_ *Expecter, r *request, seen string) (string, bool) {
	_, claims := r.jwt()
	_, number := claims["exp"].(float64)
	return r.rejected(), claims != nil && !number && strings.HasPrefix(seen, "101 user=")
}

func jwtCritRule(_ *Expecter, r *request, _ string) (string, bool) {
	head, _ := r.jwt()
	_, crit := head["crit"]
	return r.rejected(), crit
}

func cookieRule(e *Expecter, r *request, _ string) (string, bool) {
	if r.route != "b" {
		return "", false
	}
	token, odd := r.cookie("JWT")
	return r.is(e.facts.jwts[token]), odd
}

func queryRule(e *Expecter, r *request, seen string) (string, bool) {
	user := e.queryUser(r)
	if r.route == "ws" { // C leaves out parameters without a value, and takes the one before
		return "401", user == "" && seen == "101 joined"
	}
	return r.is(user), r.route == "d" && strings.HasPrefix(seen, "101 ") && r.query != ""
}

func groupIDRule(e *Expecter, r *request, seen string) (string, bool) {
	name, _ := r.group()
	_, id, _ := strings.Cut(name, "app_")
	_, err := strconv.ParseInt(id, 10, 64)
	return "403", r.route == "ws" && err != nil && e.queryUser(r) != ""
}

// queryUser returns who the token in the query is of, "" for nobody.
func (e *Expecter) queryUser(r *request) string {
	key, _ := r.parameter("token")
	return e.facts.token(key)
}

func exceptionRule(e *Expecter, r *request, seen string) (string, bool) {
	value, _ := r.get("authorization")
	scheme, _, _ := strings.Cut(value, " ")
	if r.route == "a" && !strings.EqualFold(scheme, "Token") { // of another scheme: the session decides
		session, _ := r.cookie("sessionid")
		return r.is(e.facts.sessions[session]), seen == "500"
	}
	return r.rejected(), seen == "500"
}

func statusRule(e *Expecter, r *request, seen string) (string, bool) {
	switch {
	case seen != "403" && seen != "400":
		return "", false
	case r.route == "ws" || r.route == "d" && r.leaf == "socket":
		return "401", e.queryUser(r) == ""
	case r.route == "d" || r.route == "o":
		return "403", true // anonymous clients are let in there: it was the origin
	}
	return "401", seen == "403"
}
