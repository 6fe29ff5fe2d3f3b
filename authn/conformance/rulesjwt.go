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

// jwt returns the token in the cookie of route b.
func (r *request) jwt() string {
	if r.route != "b" {
		return ""
	}
	token, _ := r.cookie("JWT")
	return token
}

// fault returns the name of the rule by which the token is no good, "" where there is none, or no token.
func (r *request) fault() string {
	if r.jwt() == "" {
		return ""
	}
	h, c, ok := r.parts()
	switch head, claims := object(h), object(c); {
	case !ok:
		return "jwt-form"
	case !isJSON(h) || !isJSON(c):
		return "jwt-json"
	case has(head, "crit"):
		return "jwt-crit"
	case claims == nil: // PyJWT sees that, too
		return ""
	case !isDate(claims["exp"]):
		return "jwt-expiry"
	case !wellTyped(claims):
		return "jwt-claims"
	}
	return ""
}

func has(o map[string]any, name string) bool {
	_, ok := o[name]
	return ok
}

// jwtRule is the rule of that name: it matters where Django took the token for somebody's.
func jwtRule(name string) func(*Expecter, *request, string) (string, bool) {
	return func(_ *Expecter, r *request, seen string) (string, bool) {
		return r.rejected(), strings.HasPrefix(seen, "101 user=") && r.fault() == name
	}
}

// jwtUser returns who the token is of, "" for nobody.
func (e *Expecter) jwtUser(r *request) string {
	if r.fault() != "" {
		return ""
	}
	return e.facts.jwt(r.jwt())
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

// maxDepth is how deep the JSON of a token may be.
const maxDepth = 500

func isJSON(b []byte) bool { return json.Valid(b) && utf8.Valid(b) && depth(b) <= maxDepth }

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
		if s, text := e.(string); !text || strings.ContainsRune(s, utf8.RuneError) {
			return false
		}
	}
	return ok
}

// wellTyped reports whether the claims that are there have the types of RFC 7519, and groups is a list of texts.
func wellTyped(claims map[string]any) bool {
	for name, is := range map[string]func(any) bool{
		"nbf": isDate, "iat": isDate, "jti": isName, "groups": areTexts,
		"aud": func(v any) bool { _, text := v.(string); return text || areTexts(v) },
	} {
		v, has := claims[name]
		if date := name == "nbf" || name == "iat"; has && (v != nil || date) && !is(v) {
			return false
		}
	}
	return true
}
