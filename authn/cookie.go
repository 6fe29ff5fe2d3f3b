package authn

import (
	"bytes"
	"fmt"
	"strconv"
)

// Cookie finds a credential in a cookie. It is fixed after NewCookie.
type Cookie struct{ name string }

// NewCookie returns the extractor for the cookie name. Names of cookies have a case.
func NewCookie(name string) (*Cookie, error) {
	if !isToken(name) {
		return nil, fmt.Errorf("authn: %q cannot be a cookie's name", name)
	}
	return &Cookie{name: name}, nil
}

// Extract implements [Extractor]. The header is split at semicolons only, white space around names and values is dropped,
// and the last cookie of a name wins, as in django.http.cookie.parse_cookie. Where the value of that one is none of RFC 6265
// section 4.1.1 it is malformed, whatever came before: Django takes it, and finds nobody. A quoted value loses its quotes,
// and its backslash escapes are undone as Python's http.cookies writes them. An empty value is absent: that is how a page
// logs out. Pairs of other names, and what is no pair, mean nothing, whatever they look like.
//
// Nothing but a semicolon ends a cookie, although Python's SimpleCookie also takes white space: a site that puts a
// visitor's text into one cookie would let the visitor write another (CVE-2016-7401).
func (c *Cookie) Extract(r *Request) (Credential, error) {
	var last []byte
	for rest := r.Cookie; len(rest) > 0; {
		var pair []byte
		pair, rest, _ = bytes.Cut(rest, []byte(";"))
		name, value, ok := bytes.Cut(pair, []byte("="))
		if !ok || string(trim(name)) != c.name {
			continue
		}
		last = trim(value)
	}
	if !isCookieValue(last) {
		return Credential{}, c.malformed("has a value that no cookie can have")
	}
	last = unquoteCookie(last)
	switch {
	case len(last) == 0:
		return Credential{}, ErrAbsent
	case len(last) > MaxCredential:
		return Credential{}, c.malformed(tooLong)
	}
	return Credential{From: "cookie", Value: last}, nil
}

func (c *Cookie) malformed(what string) error {
	return reject(ReasonMalformed, "cookie "+strconv.Quote(c.name)+" "+what)
}

// isCookieValue reports whether v is a value of RFC 6265. Inside quotes it also takes what Python quotes for: spaces,
// commas and escapes.
func isCookieValue(v []byte) bool {
	if isQuoted(v) {
		v = v[1 : len(v)-1]
		for i := 0; i < len(v); i++ {
			if v[i] == '\\' && i+1 < len(v) {
				i++ // what is escaped may be a quote
			} else if v[i] == '"' {
				return false
			}
			if v[i] < ' ' || v[i] > '~' {
				return false
			}
		}
		return true
	}
	for _, c := range v {
		if c <= ' ' || c > '~' || c == '"' || c == ',' || c == '\\' {
			return false
		}
	}
	return true
}

func isQuoted(v []byte) bool { return len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' }

// unquoteCookie undoes http.cookies._quote of Python: \ooo is the byte with that octal number, \x is x. It returns a part
// of v where there is nothing to undo.
func unquoteCookie(v []byte) []byte {
	if !isQuoted(v) {
		return v
	}
	v = v[1 : len(v)-1]
	if bytes.IndexByte(v, '\\') < 0 {
		return v
	}
	out := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		switch {
		case v[i] != '\\' || i+1 == len(v):
			out = append(out, v[i])
		case i+3 < len(v) && v[i+1] <= '3' && isOctal(v[i+1]) && isOctal(v[i+2]) && isOctal(v[i+3]):
			out = append(out, (v[i+1]-'0')<<6|(v[i+2]-'0')<<3|(v[i+3]-'0'))
			i += 3
		default:
			i++
			out = append(out, v[i])
		}
	}
	return out
}

func isOctal(c byte) bool { return '0' <= c && c <= '7' }
