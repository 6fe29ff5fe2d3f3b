package authn

import (
	"bytes"
	"errors"
	"strconv"
)

// Query finds a credential in a parameter of the query, as in "/ws/app_1234?token=KEY". It is fixed after NewQuery.
type Query struct{ name string }

// NewQuery returns the extractor for the parameter name, as it is after decoding. Names of parameters have a case.
func NewQuery(name string) (*Query, error) {
	if name == "" {
		return nil, errors.New("authn: a query parameter needs a name")
	}
	return &Query{name: name}, nil
}

// Extract implements [Extractor] for application/x-www-form-urlencoded: split at '&' only, '+' is a space, %XX a byte, the
// last parameter of a name wins, one without '=' is ignored (django.http.QueryDict). An empty value is absent. A value
// with a '%' that is no escape is malformed; Django keeps such a '%', which no token has.
func (q *Query) Extract(r *Request) (Credential, error) {
	var last []byte
	for rest := r.RawQuery; len(rest) > 0; {
		var pair []byte
		pair, rest, _ = bytes.Cut(rest, []byte("&"))
		if name, value, ok := bytes.Cut(pair, []byte("=")); ok && decodesTo(name, q.name) {
			last = value
		}
	}
	if len(last) == 0 {
		return Credential{}, ErrAbsent
	}
	value, ok := decodeQuery(last)
	switch {
	case !ok:
		return Credential{}, q.malformed("has a '%' without two hexadecimal digits")
	case len(value) > MaxCredential:
		return Credential{}, q.malformed(tooLong)
	}
	return Credential{From: "query", Value: value}, nil
}

func (q *Query) malformed(what string) error {
	return reject(ReasonMalformed, "query parameter "+strconv.Quote(q.name)+" "+what)
}

// decodesTo reports whether b is name once it is decoded. It allocates nothing, since most parameters are not ours.
func decodesTo(b []byte, name string) bool {
	i := 0
	for ; len(b) > 0; i++ {
		c, n := decodeByte(b)
		if n == 0 || i == len(name) || c != name[i] {
			return false
		}
		b = b[n:]
	}
	return i == len(name)
}

// decodeQuery decodes b. It returns b itself where there is nothing to decode.
func decodeQuery(b []byte) (value []byte, ok bool) {
	if bytes.IndexByte(b, '%') < 0 && bytes.IndexByte(b, '+') < 0 {
		return b, true
	}
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		c, n := decodeByte(b)
		if n == 0 {
			return nil, false
		}
		out = append(out, c)
		b = b[n:]
	}
	return out, true
}

// decodeByte returns the first byte that b stands for, and how many bytes that took: 0 where it is no escape.
func decodeByte(b []byte) (c byte, n int) {
	switch {
	case b[0] == '+':
		return ' ', 1
	case b[0] != '%':
		return b[0], 1
	case len(b) < 3:
		return 0, 0
	}
	hi, ok1 := unhex(b[1])
	lo, ok2 := unhex(b[2])
	if !ok1 || !ok2 {
		return 0, 0
	}
	return hi<<4 | lo, 3
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
