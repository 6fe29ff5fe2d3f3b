package authn

import (
	"bytes"
	"crypto/hmac"
	"hash"

	"github.com/golang-jwt/jwt/v5"
)

// What a scratch may keep for the next token, so that a few long ones do not cost memory for good. It is enough for a token
// of 2.7 KiB; a longer one costs an allocation.
const (
	maxKeptParts   = 2048 // bytes
	maxKeptMembers = 32
	maxKeptText    = 768 // bytes
)

// scratch is what one call of Verify works in. It is pooled by its JWT and never shared with another, since its MACs hold
// the key. It has one user at a time, and holds nothing of a token between two of them: reset wipes it.
type scratch struct {
	macs   []hash.Hash       // one for each of JWT.methods, as before the first Write; nil for what is no HMAC
	parts  []byte            // the token's parts, decoded
	claims claims            // the header, then the payload; borrows parts
	text   [maxKeptText]byte // texts of claims; what does not fit is allocated and not kept
	sum    [64]byte          // the signature as it should be, which nobody else may read: it would be theirs to use
}

func (v *JWT) newScratch() *scratch {
	s := &scratch{macs: make([]hash.Hash, len(v.methods))}
	for i, m := range v.methods {
		if m, ok := m.(*jwt.SigningMethodHMAC); ok {
			s.macs[i] = hmac.New(m.Hash.New, v.key.([]byte)) // checkKey has seen the type
		}
	}
	return s
}

// reset wipes everything but the keys, and gives back what is too large to keep. Verify has reset the MAC that it used.
func (s *scratch) reset() {
	if clear(s.parts[:cap(s.parts)]); cap(s.parts) > maxKeptParts {
		s.parts = nil
	}
	s.claims.reset()
	clear(s.text[:])
	clear(s.sum[:])
}

// decode decodes the three parts of a token (RFC 7515 section 7.1). They are good until reset.
func (s *scratch) decode(b []byte) (head, payload, signature []byte, ok bool) {
	if bytes.IndexByte(b, '\n') >= 0 || bytes.IndexByte(b, '\r') >= 0 { // the decoder would skip them
		return nil, nil, nil, false
	}
	b0, rest, _ := bytes.Cut(b, []byte{'.'})
	b1, b2, ok := bytes.Cut(rest, []byte{'.'})
	if !ok {
		return nil, nil, nil, false
	}
	if n := segment.DecodedLen(len(b)); cap(s.parts) < n {
		s.parts = make([]byte, n) // at once, so that no copy of a part stays behind
	}
	var parts [3][]byte
	buf := s.parts[:0]
	for i, part := range [...][]byte{b0, b1, b2} { // a fourth part would be a dot in the third, and a dot is no base64url
		start := len(buf)
		var err error
		if buf, err = segment.AppendDecode(buf, part); err != nil {
			return nil, nil, nil, false
		}
		parts[i] = buf[start:]
	}
	return parts[0], parts[1], parts[2], true
}

// signed reports whether signature is that of the i'th method with key over text. MACs are compared in constant time.
func (v *JWT) signed(s *scratch, i int, key any, text, signature []byte) bool {
	mac := s.macs[i]
	if mac == nil {
		return v.methods[i].Verify(string(text), signature, key) == nil
	}
	mac.Write(text) // never fails: see hash.Hash
	ok := hmac.Equal(signature, mac.Sum(s.sum[:0]))
	mac.Reset() // now, and not before the next: it holds the end of the text
	return ok
}
