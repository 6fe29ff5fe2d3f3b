package conformance

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The limits of the conformance routes' configuration, which are the defaults.
const (
	headBytes = 16384
	headLines = 128
)

func headRule(_ *Expecter, r *request, _ string) (string, bool) {
	return "431", r.head > headBytes || len(r.fields) > headLines
}

var requestLine = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+ [^ ]+ HTTP/[0-9]\\.[0-9]$")

func requestLineRule(_ *Expecter, r *request, _ string) (string, bool) {
	switch {
	case !requestLine.MatchString(r.lines[0]):
		return "400", true
	case r.version != "HTTP/1.1":
		return "505", true
	case r.method != "GET":
		return "405", true
	}
	return "400", r.target[0] != '/'
}

func twiceRule(_ *Expecter, r *request, _ string) (string, bool) {
	for _, name := range []string{"authorization", "cookie", "host", "origin", "sec-websocket-key", "sec-websocket-version"} {
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
	for _, l := range r.lines[1:] {
		name, value, ok := strings.Cut(l, ":")
		if !ok || !isToken(name) { // the line of a folded field begins with white space
			return "400", true
		}
		for _, c := range []byte(value) {
			if c < ' ' && c != '\t' || c == 0x7f {
				return "400", true
			}
		}
	}
	if host, _ := r.get("host"); !isHost(host) {
		return "400", true
	}
	return "400", slices.ContainsFunc(r.list("sec-websocket-protocol"), func(p string) bool { return !isToken(p) || strings.Contains(p, ":") })
}

var hostSyntax = regexp.MustCompile(`^(\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::([0-9]{1,5}))?$`)

// isHost reports whether s is what a Host may be (RFC 9110 section 7.2).
func isHost(s string) bool {
	m := hostSyntax.FindStringSubmatch(s)
	if m == nil {
		return false
	}
	if m[2] != "" {
		if _, err := strconv.ParseUint(m[2], 10, 16); err != nil {
			return false
		}
	}
	if m[1][0] != '[' {
		return true
	}
	a, err := netip.ParseAddr(m[1][1 : len(m[1])-1])
	return err == nil && a.Is6()
}

func bodyRule(_ *Expecter, r *request, _ string) (string, bool) {
	other := func(length string) bool { return length != "0" }
	return "400", len(r.all("transfer-encoding")) > 0 || slices.ContainsFunc(r.all("content-length"), other)
}

// names reports whether a field that is a list has the word.
func (r *request) names(field, word string) bool {
	return slices.ContainsFunc(r.list(field), func(e string) bool { return strings.EqualFold(e, word) })
}

func notWebSocketRule(_ *Expecter, r *request, _ string) (string, bool) {
	version, _ := r.get("sec-websocket-version")
	return "426", !r.names("upgrade", "websocket") || !r.names("connection", "upgrade") || version != "13"
}

var keySyntax = regexp.MustCompile(`^[A-Za-z0-9+/]{22}==$`)

func keyRule(_ *Expecter, r *request, _ string) (string, bool) {
	key, _ := r.get("sec-websocket-key")
	return "400", !keySyntax.MatchString(key)
}

func pathRule(_ *Expecter, r *request, _ string) (string, bool) {
	for segment := range strings.SplitSeq(r.path, "/") {
		if d, err := url.PathUnescape(segment); err != nil || strings.ContainsAny(d, "/\x00") {
			return "400", true
		}
	}
	return "", false
}

// leaves are the endpoints of each route but ws.
var leaves = map[string][]string{
	"a": {"who", "socket", "late"}, "b": {"who", "socket", "late"}, "s": {"who", "socket", "late", "proto"},
	"d": {"who", "socket"}, "o": {"who"},
}

func noRouteRule(_ *Expecter, r *request, _ string) (string, bool) {
	if r.route != "ws" {
		return "404", r.slashes || !slices.Contains(leaves[r.route], r.leaf)
	}
	if r.slashes || r.rest == "" || strings.Contains(r.rest, "/") {
		return "404", true
	}
	name, ok := r.group()
	i := strings.LastIndexByte(name, '_')
	return "404", ok && (i < 0 || name[:i] != "app" || i == len(name)-1)
}

var groupName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,99}$`)

// group returns the name of the group in the path, and whether it is one.
func (r *request) group() (string, bool) { return r.leaf, groupName.MatchString(r.leaf) }

func groupNameRule(_ *Expecter, r *request, _ string) (string, bool) {
	_, ok := r.group()
	return "400", r.route == "ws" && !ok
}

// upgradeListRule: who gets in is then for the credential to say.
func upgradeListRule(e *Expecter, r *request, seen string) (string, bool) {
	if one, ok := r.get("upgrade"); ok && strings.EqualFold(one, "websocket") || strings.HasPrefix(seen, "101") {
		return "", false
	}
	return e.answer(r)
}
