package authn

import (
	"bytes"
	"fmt"
	"strconv"
)

// Subprotocol finds a credential among the subprotocols that a client offers, as in
// "Sec-WebSocket-Protocol: chat.v1, bearer.TOKEN": the one header that a page's script can fill. It is fixed after
// NewSubprotocol.
type Subprotocol struct{ prefix string }

// NewSubprotocol returns the extractor for offers that begin with prefix. Subprotocols have a case.
func NewSubprotocol(prefix string) (*Subprotocol, error) {
	if !isToken(prefix) {
		return nil, fmt.Errorf("authn: %q cannot begin a subprotocol: want letters, digits and - _ . and their like", prefix)
	}
	return &Subprotocol{prefix: prefix}, nil
}

// Extract implements [Extractor]. An offer that is only the prefix is malformed, and so are two with the prefix, since
// none is more the client's than the other. The offer must never be selected: see [Chain.SubprotocolPrefixes].
func (s *Subprotocol) Extract(r *Request) (Credential, error) {
	var value []byte
	n := 0
	for _, p := range r.Protocols {
		if bytes.HasPrefix(p, []byte(s.prefix)) {
			value = p[len(s.prefix):]
			n++
		}
	}
	switch {
	case n == 0:
		return Credential{}, ErrAbsent
	case n > 1:
		return Credential{}, s.malformed("came more than once")
	case len(value) == 0:
		return Credential{}, s.malformed("has no credential behind the prefix")
	case len(value) > MaxCredential:
		return Credential{}, s.malformed(tooLong)
	}
	return Credential{From: "subprotocol", Value: value}, nil
}

func (s *Subprotocol) malformed(what string) error {
	return reject(ReasonMalformed, "subprotocol "+strconv.Quote(s.prefix)+" "+what)
}
