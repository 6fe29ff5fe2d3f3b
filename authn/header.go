package authn

import (
	"fmt"
	"strconv"
)

// Header finds a credential in a header, as in "Authorization: Token KEY". It is fixed after NewHeader.
type Header struct {
	name, scheme  string
	authorization bool // Request keeps this one apart
}

// NewHeader returns the extractor for the header name. With a scheme, the value is two words: the scheme, whatever the case
// of its letters (RFC 9110 section 11.1), and the credential. With the scheme "" the whole value is the credential.
func NewHeader(name, scheme string) (*Header, error) {
	if !isToken(name) {
		return nil, fmt.Errorf("authn: %q cannot be a header's name", name)
	}
	if scheme != "" && !isToken(scheme) {
		return nil, fmt.Errorf("authn: %q cannot be an authentication scheme: want one word without spaces or commas", scheme)
	}
	return &Header{name: name, scheme: scheme, authorization: equalFold([]byte(name), "Authorization")}, nil
}

// Extract implements [Extractor] with the rules of rest_framework.authentication.TokenAuthentication: another scheme, or no
// value, is absent; the right scheme with nothing behind it, or with more than one word, is malformed. Only space and tab
// are white space (Django also splits at those of Unicode). Two lines of the header are malformed: which of them a proxy
// in front has looked at cannot be known.
func (h *Header) Extract(r *Request) (Credential, error) {
	value, n := r.Authorization, 1
	if !h.authorization {
		value, n = h.find(r)
	} else if !r.HasAuthorization {
		n = 0
	}
	switch {
	case n == 0:
		return Credential{}, ErrAbsent
	case n > 1:
		return Credential{}, h.malformed("came more than once")
	}
	value = trim(value)
	if h.scheme == "" {
		if len(value) == 0 {
			return Credential{}, ErrAbsent
		}
	} else {
		word, rest := cutSpace(value)
		if !equalFold(word, h.scheme) {
			return Credential{}, ErrAbsent
		}
		value = trim(rest)
		if len(value) == 0 {
			return Credential{}, h.malformed("has no credential behind the scheme " + h.scheme)
		}
		if word, _ = cutSpace(value); len(word) != len(value) {
			return Credential{}, h.malformed("has more than one word behind the scheme " + h.scheme)
		}
	}
	if len(value) > MaxCredential {
		return Credential{}, h.malformed(tooLong)
	}
	return Credential{From: "header", Value: value}, nil
}

const tooLong = "holds a credential that is too long"

// find returns the last value of the header, and how many lines there are.
func (h *Header) find(r *Request) (value []byte, n int) {
	for i := range r.Header {
		if equalFold(r.Header[i].Name, h.name) {
			value = r.Header[i].Value
			n++
		}
	}
	return value, n
}

func (h *Header) malformed(what string) error {
	return reject(ReasonMalformed, "header "+strconv.Quote(h.name)+" "+what)
}

// challenge is what asks for this header's credential in WWW-Authenticate, "" where that cannot.
func (h *Header) challenge() string {
	if !h.authorization || h.scheme == "" {
		return ""
	}
	return h.scheme + ` realm="fairlead"`
}

// cutSpace cuts b at its first space or tab.
func cutSpace(b []byte) (before, after []byte) {
	for i := range b {
		if isSpace(b[i]) {
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}
