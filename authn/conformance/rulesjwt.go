package conformance

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// letIn reports whether Django took the JWT of the request for somebody's.
func (r *request) letIn(seen string) bool {
	return r.route == "b" && strings.HasPrefix(seen, "101 user=")
}

// jwt returns the token in the cookie of route b.
func (r *request) jwt() string {
	if r.route != "b" {
		return ""
	}
	token, _ := r.cookie("JWT")
	return token
}

// maxJWT is the longest token that is read, in bytes.
const maxJWT = 8192

// parts returns the decoded head and claims. ok is false where the token has no such form.
func (r *request) parts() (head, claims []byte, ok bool) {
	token := r.jwt()
	var parts [][]byte
	for p := range strings.SplitSeq(token, ".") {
		b, err := base64.RawURLEncoding.Strict().DecodeString(p)
		if err != nil {
			return nil, nil, false
		}
		parts = append(parts, b)
	}
	if len(parts) != 3 || len(token) > maxJWT {
		return nil, nil, false
	}
	return parts[0], parts[1], true
}

func jwtFormRule(_ *Expecter, r *request, seen string) (string, bool) {
	_, _, ok := r.parts()
	return r.rejected(), r.jwt() != "" && !ok && r.letIn(seen)
}

// maxDepth is how deep the JSON of a token may be.
const maxDepth = 500

func jwtJSONRule(_ *Expecter, r *request, seen string) (string, bool) {
	head, claims, ok := r.parts()
	for _, b := range [][]byte{head, claims} {
		if !ok || !json.Valid(b) || !utf8.Valid(b) || depth(b) > maxDepth {
			return r.rejected(), ok && r.letIn(seen)
		}
	}
	return "", false
}

// depth returns how many brackets of JSON stand inside each other.
func depth(b []byte) int {
	now, most, text := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '[' || c == '{':
			now++
			most = max(most, now)
		case c == ']' || c == '}':
			now--
		}
	}
	return most
}

// object reads JSON; nil: it is no object.
func object(b []byte) map[string]any {
	var o map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	if d.UseNumber(); d.Decode(&o) != nil {
		return nil
	}
	return o
}

func jwtCritRule(_ *Expecter, r *request, _ string) (string, bool) {
	head, _, _ := r.parts()
	_, crit := object(head)["crit"]
	return r.rejected(), crit
}

func jwtExpiryRule(_ *Expecter, r *request, seen string) (string, bool) {
	_, b, _ := r.parts()
	claims := object(b)
	return r.rejected(), r.letIn(seen) && claims != nil && !isDate(claims["exp"])
}

// maxYear9999 and minYear0 are the seconds that RFC 3339 can write.
const (
	maxYear9999 = 253402300799
	minYear0    = -62167219200
)

// isDate reports whether v is a NumericDate (RFC 7519 section 2) of the years that can be written.
func isDate(v any) bool {
	n, ok := v.(json.Number)
	f, err := strconv.ParseFloat(string(n), 64)
	return ok && err == nil && minYear0 <= f && f <= maxYear9999
}

var wholeNumber = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

// isName reports whether v is a text, or a whole number.
func isName(v any) bool {
	switch v := v.(type) {
	case string:
		return !strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c == 0x7f || c == utf8.RuneError })
	case json.Number:
		return wholeNumber.MatchString(string(v))
	}
	return false
}

func areTexts(v any) bool {
	list, ok := v.([]any)
	for _, e := range list {
		if _, text := e.(string); !text {
			return false
		}
	}
	return ok
}

func jwtClaimsRule(_ *Expecter, r *request, seen string) (string, bool) {
	_, b, _ := r.parts()
	for name, is := range map[string]func(any) bool{
		"nbf": isDate, "iat": isDate, "jti": isName, "groups": areTexts,
		"aud": func(v any) bool { _, text := v.(string); return text || areTexts(v) },
	} {
		v, has := object(b)[name]
		if date := name == "nbf" || name == "iat"; has && (v != nil || date) && !is(v) {
			return r.rejected(), r.letIn(seen)
		}
	}
	return "", false
}
