package authn

import "net/netip"

// Request is one handshake as authn sees it. All byte slices are borrowed: they die when the handshake ends, so whoever
// keeps something copies it. It belongs to one goroutine at a time.
type Request struct {
	Path     []byte // as on the request line, not decoded
	RawQuery []byte // as on the request line, not decoded, without '?'
	Host     []byte

	Origin           []byte
	HasOrigin        bool
	Authorization    []byte
	HasAuthorization bool
	Cookie           []byte // the one Cookie line's value

	Protocols [][]byte      // values of Sec-WebSocket-Protocol, split and trimmed
	Header    []HeaderField // all fields in wire order

	// Route is the path pattern of the route that the path matches, from the configuration: not borrowed. It is there
	// before a [Chain] is asked.
	Route string

	Remote netip.AddrPort
	TLS    bool // whether this process ended TLS; false behind a balancer that did
}

// HeaderField is one header line. Both slices are borrowed; Name is as it was sent.
type HeaderField struct{ Name, Value []byte }

// Get returns the value of the first field called name, whatever the case of its letters.
func (r *Request) Get(name string) (value []byte, ok bool) {
	for i := range r.Header {
		if equalFold(r.Header[i].Name, name) {
			return r.Header[i].Value, true
		}
	}
	return nil, false
}

// Reset makes r ready for another handshake. It keeps the capacity of the lists, and nothing else.
func (r *Request) Reset() {
	clear(r.Protocols)
	clear(r.Header)
	*r = Request{Protocols: r.Protocols[:0], Header: r.Header[:0]}
}

// equalFold compares as HTTP does: ASCII letters without their case, everything else exactly.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// isToken reports whether s is a token of RFC 9110 section 5.6.2: what a header, a scheme, a cookie and a subprotocol can
// be called.
func isToken[T string | []byte](s T) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return len(s) > 0
}

func isTokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}

// trim removes the optional white space of HTTP (RFC 9110 section 5.6.3): space and tab, and nothing of Unicode.
func trim(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }
