package conformance

import (
	"bytes"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// request is a request as it was sent, taken apart without an opinion about whether it may be so.
type request struct {
	head    int      // bytes, the empty line included
	lines   []string // of the head, the request line first
	method  string
	version string // such as HTTP/1.1
	target  string
	path    string
	query   string
	fields  []field
	route   string // the first segment of the path, decoded: a, b, c, d, o, s, ws
	rest    string // what follows it, as it was sent, without a slash at the end
	leaf    string // the same, decoded where that is possible
	slashes bool   // the path has an empty segment in the middle

	patterns []string // of the servers' list of origins; nil: they looked at none
}

type field struct{ name, value string }

func parse(b []byte) *request {
	head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	r := &request{head: len(head) + 4, lines: strings.Split(string(head), "\r\n")}
	line := r.lines[0]
	if i := strings.LastIndex(line, " "); i >= 0 {
		line, r.version = line[:i], line[i+1:]
	}
	r.method, r.target, _ = strings.Cut(line, " ")
	r.path, r.query, _ = strings.Cut(r.target, "?")
	for _, l := range r.lines[1:] {
		name, value, _ := strings.Cut(l, ":")
		r.fields = append(r.fields, field{strings.ToLower(name), strings.Trim(value, " \t")})
	}
	r.route, r.rest, _ = strings.Cut(strings.TrimPrefix(r.path, "/"), "/")
	r.slashes = strings.Contains(r.path, "//")
	r.rest = strings.TrimSuffix(r.rest, "/")
	r.route, r.leaf = decoded(r.route), decoded(r.rest)
	return r
}

// decoded returns s with its escapes decoded, and s itself where they are none.
func decoded(s string) string {
	if d, err := url.PathUnescape(s); err == nil {
		return d
	}
	return s
}

// all returns the values of the field.
func (r *request) all(name string) (values []string) {
	for _, f := range r.fields {
		if f.name == name {
			values = append(values, f.value)
		}
	}
	return values
}

// get returns the value of the field that comes once.
func (r *request) get(name string) (string, bool) {
	values := r.all(name)
	if len(values) != 1 {
		return "", false
	}
	return values[0], true
}

// list returns the elements of a field that is a list, of all its lines.
func (r *request) list(name string) (elements []string) {
	for e := range strings.SplitSeq(strings.Join(r.all(name), ","), ",") {
		if e = strings.Trim(e, " \t"); e != "" {
			elements = append(elements, e)
		}
	}
	return elements
}

// parameter returns the query's parameter by the one rule: percent-decoded, the last of a name, one without = is none. What
// cannot be decoded stays as it is: nobody's credential has a percent sign.
func (r *request) parameter(name string) (value string, ok bool) {
	for pair := range strings.SplitSeq(r.query, "&") {
		k, v, has := strings.Cut(pair, "=")
		if d, err := url.QueryUnescape(k); !has || err != nil || d != name {
			continue
		}
		if d, err := url.QueryUnescape(v); err == nil {
			v = d
		}
		value, ok = v, true
	}
	return value, ok
}

// cookie returns the cookie by the rule of Django's parse_cookie: the pairs stand between semicolons, the last of a name
// counts, quotes around it are no part of it and escapes between them are undone, and a pair of which nothing can be made
// hides no other. odd: there is a pair of which SimpleCookie makes something else than RFC 6265, or nothing.
func (r *request) cookie(name string) (value string, odd bool) {
	header, _ := r.get("cookie")
	first := true
	for pair := range strings.SplitSeq(header, ";") {
		k, v, has := strings.Cut(strings.TrimSpace(pair), "=")
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		if !has || !isToken(k) || !isCookieValue(v) || first && slices.Contains(attributes, strings.ToLower(k)) {
			odd = true
		}
		if first = false; has && k == name {
			value = unquote(v)
		}
	}
	return value, odd && header != ""
}

// attributes are those of a cookie in SimpleCookie, which wants a cookie in front of them.
var attributes = []string{"expires", "path", "comment", "domain", "max-age", "secure", "httponly", "version", "samesite"}

var escape = regexp.MustCompile(`\\(?:[0-3][0-7][0-7]|.)`)

// unquote takes quotes off, and undoes the escapes between them.
func unquote(v string) string {
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
		return v
	}
	return escape.ReplaceAllStringFunc(v[1:len(v)-1], func(e string) string {
		if n, err := strconv.ParseUint(e[1:], 8, 8); err == nil && len(e) == 4 {
			return string([]byte{byte(n)})
		}
		return e[1:]
	})
}

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;\"/[]?={}`, c)
	})
}

func isCookieValue(s string) bool {
	quoted := len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"'
	if quoted {
		s = escape.ReplaceAllString(s[1:len(s)-1], "")
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return c < ' ' || c >= 0x7f || c == '"' || c == ';' || !quoted && strings.ContainsRune(` ,\`, c)
	})
}
