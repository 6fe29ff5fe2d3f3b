package conformance

import (
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
	{"request-line", "a request line is GET, a path and HTTP/1.1: another method is 405, another version 505, another form 400", true, requestLineRule},
	{"twice", "two Authorization, Cookie, Host, Origin, Sec-WebSocket-Key or -Version fields are 400, not one of them chosen", true, twiceRule},
	{"bad-http", "a folded line, a Host that is none, and bytes that may not stand in a request line or a field are 400", true, badHTTPRule},
	{"body", "a handshake with a body is 400", true, bodyRule},
	{"not-websocket", "no WebSocket handshake is 426, also of another version", true, notWebSocketRule},
	{"key", "a Sec-WebSocket-Key that is not 16 bytes in base64 is 400", true, keyRule},
	{"path", "a path with an encoded slash, an encoded NUL or half an escape is 400", true, pathRule},
	{"no-route", "a path without a route is 404, and so is a group of another category", true, noRouteRule},
	{"group-name", "a group is its decoded text: what is no group's name is 400", true, groupNameRule},
	{"origin", "an Origin is scheme, host and port, and nothing else", false, originRule},
	{"own-origin", "a route without origins is for pages of the node's own host, and for programs", false, ownOriginRule},
	{"upgrade-list", "Upgrade is a list, and may come twice", false, upgradeListRule},
	{"inactive", "the token of an inactive user is refused, unless inactive_users says otherwise", false, inactiveRule},
	{"white-space", "only space and tab are white space", false, whiteSpaceRule},
	{"scheme-case", "a scheme has no case, as in RFC 9110 and Django REST framework", false, schemeCaseRule},
	{"jwt-form", "a JWT is three parts of base64url in their one spelling, without padding, and at most 8 KiB", false, jwtRule("jwt-form")},
	{"jwt-json", "a JWT is JSON of RFC 8259, in UTF-8, and at most 500 deep", false, jwtRule("jwt-json")},
	{"jwt-crit", "a JWT whose head names a crit is refused", false, jwtRule("jwt-crit")},
	{"jwt-expiry", "a JWT has an exp, and it is a number, before the year 10000", false, jwtRule("jwt-expiry")},
	{"jwt-claims", "nbf and iat are numbers, jti a text or a whole number, aud a text or texts, groups texts", false, jwtRule("jwt-claims")},
	{"cookie", "cookies stand between semicolons; one that cannot be read hides no other", false, cookieRule},
	{"query", "one rule for queries: decoded, the last of a name, one without = is none", false, queryRule},
	{"group-id", "the id of a group is a text, and the authorizer decides", false, groupIDRule},
	{"other-scheme", "an Authorization of another scheme, or of none, is no credential of this place: the next place is tried", false, otherSchemeRule},
	{"exception", "what raised an exception is a credential that is no good", false, exceptionRule},
	{"status", "401 where the credential is missing or no good, 403 for origin and permission", false, statusRule},
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

// forbidden is what it answers to a page that may not connect.
func (r *request) forbidden() string {
	if r.leaf == "late" {
		return "101 close=4403"
	}
	return "403"
}

// is returns what the endpoint answers to that user, "" for a credential that is no good.
func (r *request) is(user string) string {
	if user == "" {
		return r.rejected()
	}
	return "101 user=" + user
}

// inactiveRule is about whom Django took it for; by our rules it may be the credential of somebody else.
func inactiveRule(e *Expecter, r *request, seen string) (string, bool) {
	answer, known := e.answer(r)
	return r.rejected(), strings.HasSuffix(seen, "(inactive)") && (!known || answer == r.rejected())
}

// whiteSpaceRule: Channels reads a header as ISO 8859-1 and strips what Python takes for white space.
func whiteSpaceRule(e *Expecter, r *request, _ string) (string, bool) {
	value, _ := r.get("authorization")
	cookies, _ := r.get("cookie")
	odd := strings.ContainsFunc(value, func(c rune) bool { return c > 0x7f && unicode.IsSpace(c) }) // in UTF-8
	odd = odd || strings.ContainsAny(latin1(value), "\u0085\u00a0")
	oddCookie := strings.ContainsAny(latin1(cookies), "\u0085\u00a0")
	answer, _ := e.answer(r)
	return answer, r.route == "a" && (odd || oddCookie) || r.route == "s" && oddCookie
}

// words divides at the first space or tab.
func words(value string) (scheme, rest string) {
	if i := strings.IndexAny(value, " \t"); i >= 0 {
		return value[:i], strings.Trim(value[i:], " \t")
	}
	return value, ""
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
	parts := strings.Fields(value)
	if r.route != "a" || len(parts) != 2 || parts[0] == "Token" || !strings.EqualFold(parts[0], "Token") {
		return "", false
	}
	return r.is(e.facts.token(parts[1])), true
}

func cookieRule(e *Expecter, r *request, _ string) (string, bool) {
	if r.route != "b" {
		return "", false
	}
	_, odd := r.cookie("JWT")
	return r.is(e.jwtUser(r)), odd
}

func queryRule(e *Expecter, r *request, seen string) (string, bool) {
	user := e.queryUser(r)
	switch {
	case r.route == "ws": // C leaves out parameters without a value, and takes the one before
		return "401", user == "" && seen == "101 joined"
	case seen == "403" && (r.leaf != "socket" || user == "" || !r.listed()): // that is no matter of the query
		return "", false
	}
	return r.is(user), r.route == "d" && r.query != "" && (seen == "403" || strings.HasPrefix(seen, "101 "))
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

// session returns who the session in the cookie is of, "" for nobody.
func (e *Expecter) session(r *request) string {
	id, _ := r.cookie("sessionid")
	return e.facts.sessions[id]
}

// header returns who the credential of route a is of: the header decides where it has one, and else the session.
func (e *Expecter) header(r *request) string {
	value, _ := r.get("authorization")
	scheme, key := words(value)
	if !strings.EqualFold(scheme, "Token") {
		return e.session(r)
	}
	return e.facts.token(key)
}

// answer returns what the endpoint answers to the credential of the request. ok is false where the facts do not say that.
func (e *Expecter) answer(r *request) (answer string, ok bool) {
	if r.patterns != nil && !r.listed() {
		return "403", true
	}
	switch r.route {
	case "a":
		return r.is(e.header(r)), true
	case "b":
		return r.is(e.jwtUser(r)), true
	case "s":
		if r.leaf == "proto" {
			return "101", true
		}
		return r.is(e.session(r)), true
	case "d":
		return r.is(e.queryUser(r)), true
	}
	return r.rejected(), r.route == "o"
}

func otherSchemeRule(e *Expecter, r *request, seen string) (string, bool) {
	value, has := r.get("authorization")
	scheme, _ := words(value)
	return r.is(e.session(r)), r.route == "a" && has && !strings.EqualFold(scheme, "Token") && seen == "500"
}

// exceptionRule: on route a it may have been the header that raised it, or the session behind a header that decides.
func exceptionRule(e *Expecter, r *request, seen string) (string, bool) {
	if r.route == "a" {
		return r.is(e.header(r)), seen == "500"
	}
	return r.rejected(), seen == "500"
}

func statusRule(e *Expecter, r *request, seen string) (string, bool) {
	switch {
	case seen != "403" && seen != "400":
		return "", false
	case r.patterns != nil && !r.listed():
		return "403", true
	case r.route == "ws" || r.route == "d":
		return "401", e.queryUser(r) == ""
	}
	return "401", seen == "403"
}
