package conformance

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
)

// request is a request as it was sent, taken apart without an opinion about whether it may be so.
type request struct {
	head    int // bytes, the empty line included
	target  string
	path    string
	query   string
	fields  []field
	route   string // the first segment of the path: a, b, c, d, o, s, ws
	leaf    string // what follows it, without a slash at the end
	slashes bool   // the path has an empty segment in the middle

	anyOrigin bool // the servers were set to take any
}

type field struct{ name, value string }

func parse(b []byte) *request {
	head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	r := &request{head: len(head) + 4}
	line := strings.TrimPrefix(lines[0], "GET ")
	if i := strings.LastIndex(line, " HTTP/"); i >= 0 {
		line = line[:i]
	}
	r.target = line
	r.path, r.query, _ = strings.Cut(r.target, "?")
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ":")
		r.fields = append(r.fields, field{strings.ToLower(name), strings.Trim(value, " \t")})
	}
	r.route, r.leaf, _ = strings.Cut(strings.TrimPrefix(r.path, "/"), "/")
	r.slashes = strings.Contains(r.path, "//")
	r.leaf = strings.TrimSuffix(r.leaf, "/")
	return r
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

// parameter returns the query's parameter by the one rule: percent-decoded, the last of a name, one without = is none.
func (r *request) parameter(name string) (value string, ok bool) {
	for pair := range strings.SplitSeq(r.query, "&") {
		k, v, has := strings.Cut(pair, "=")
		if !has {
			continue
		}
		k, kerr := url.QueryUnescape(k)
		v, verr := url.QueryUnescape(v)
		if kerr == nil && verr == nil && k == name {
			value, ok = v, true
		}
	}
	return value, ok
}

// cookie returns the cookie by the rule of Django's parse_cookie: the pairs stand between semicolons, the last of a name
// counts, quotes around it are no part of it, and a pair of which nothing can be made hides no other. odd: there is a pair that RFC 6265 does not know.
func (r *request) cookie(name string) (value string, odd bool) {
	header, _ := r.get("cookie")
	for pair := range strings.SplitSeq(header, ";") {
		k, v, has := strings.Cut(strings.TrimSpace(pair), "=")
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		if !has || !isToken(k) || !isCookieValue(v) {
			odd = true
		}
		if has && k == name {
			if value = v; len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
				value = v[1 : len(v)-1]
			}
		}
	}
	return value, odd && header != ""
}

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;\"/[]?={}`, c)
	})
}

func isCookieValue(s string) bool {
	return strings.HasPrefix(s, `"`) == strings.HasSuffix(s, `"`) && !strings.ContainsFunc(strings.Trim(s, `"`), func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`",;`, c)
	})
}

// jwt returns the head and the claims of a token, without a look at its signature. nil: it is none.
func decodeJWT(token string) (head, claims map[string]any) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, nil
	}
	for i, into := range []*map[string]any{&head, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(b, into) != nil {
			return nil, nil
		}
	}
	return head, claims
}
