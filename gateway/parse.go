package gateway

import (
	"bytes"
	"net/netip"

	"github.com/fairlead-ws/fairlead/authn"
)

// maxFields is how many header lines a request may have. Browsers behind two proxies send 30.
const maxFields = 128

// What a byte can be part of.
const (
	inToken  = 1 << iota // RFC 9110 section 5.6.2: names, methods, subprotocols
	inValue              // RFC 9110 section 5.5: visible, obs-text, space and tab
	inTarget             // RFC 3986: what needs no escape, and '%'. '#' begins what no client sends.
	inHost               // RFC 3986 section 3.2.2: reg-name without its escapes
)

var classes = newClasses()

func newClasses() (t [256]uint8) {
	for c := range 256 {
		b := byte(c)
		letter := 'a' <= b|0x20 && b|0x20 <= 'z'
		digit := '0' <= b && b <= '9'
		if letter || digit || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), b) >= 0 {
			t[c] |= inToken
		}
		if b >= ' ' && b != 0x7f || b == '\t' {
			t[c] |= inValue
		}
		if b > ' ' && b < 0x7f && b != '#' {
			t[c] |= inTarget
		}
		if letter || digit || bytes.IndexByte([]byte("-._~!$&'()*+,;="), b) >= 0 {
			t[c] |= inHost
		}
	}
	return t
}

func isToken(c byte) bool { return classes[c]&inToken != 0 }

// upgrade is what a request says about the protocol it wants to change to, as it was sent.
type upgrade struct {
	websocket  bool   // Upgrade names websocket
	connection bool   // Connection names upgrade
	version    []byte // Sec-WebSocket-Version; nil: none
	key        []byte // Sec-WebSocket-Key; nil: none
}

// parseHead reads a whole head, the empty line included, into r and u, which must be zero. All slices are parts of b.
// It accepts no more than RFC 9112 does, and less where leniency lets two parsers read one request differently: lines end
// in CR LF, nothing is folded, no field that decides something comes twice, and there is no body.
// FuzzHead holds that [net/http.ReadRequest] reads the same.
//
// The error is always a *[reasonError].
func parseHead(b []byte, r *authn.Request, u *upgrade) error {
	i := bytes.IndexByte(b, '\n')
	if i <= 0 {
		return errRequestLine
	}
	if b[i-1] != '\r' {
		return errBareLF
	}
	if err := parseRequestLine(b[:i-1], r); err != nil {
		return err
	}
	var seen seenFields
	for b = b[i+1:]; ; {
		if len(b) == 2 && b[0] == '\r' && b[1] == '\n' {
			break
		}
		if len(r.Header) == maxFields {
			return errTooManyFields
		}
		f, rest, err := parseField(b)
		if err != nil {
			return err
		}
		r.Header = append(r.Header, f)
		if err := seen.take(f, r, u); err != nil {
			return err
		}
		b = rest
	}
	if seen&seenHost == 0 {
		return errNoHost
	}
	return nil
}

// parseRequestLine reads a line without its end: GET, a space, a path with or without a query, a space, HTTP/1.1.
// The version comes first: of a request in another version not even the method can be relied on.
func parseRequestLine(line []byte, r *authn.Request) error {
	method, rest, ok1 := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	switch {
	case !ok1 || !ok2 || len(target) == 0 || !isVersion(version) || !isTokens(method):
		return errRequestLine
	case string(version) != "HTTP/1.1":
		return errHTTPVersion
	case string(method) != "GET":
		return errMethod
	case target[0] != '/':
		return errTarget
	}
	for _, c := range target {
		if classes[c]&inTarget == 0 {
			return errTargetByte
		}
	}
	r.Path, r.RawQuery, _ = bytes.Cut(target, []byte("?"))
	if !isEscaped(r.Path) {
		return errPathEscape
	}
	return nil
}

// isVersion reports whether v is an HTTP version of RFC 9112 section 2.3, whichever.
func isVersion(v []byte) bool {
	return len(v) == 8 && string(v[:5]) == "HTTP/" && isDigit(v[5]) && v[6] == '.' && isDigit(v[7])
}

// isTokens reports whether all of b, and at least one byte, is a token.
func isTokens(b []byte) bool {
	for _, c := range b {
		if !isToken(c) {
			return false
		}
	}
	return len(b) > 0
}

// isEscaped reports whether two hexadecimal digits follow each '%' in b.
func isEscaped(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '%')
		if i < 0 {
			return true
		}
		if len(b) < i+3 || !isHex(b[i+1]) || !isHex(b[i+2]) {
			return false
		}
		b = b[i+3:]
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// parseField reads the header line at the beginning of b and returns what is behind it.
func parseField(b []byte) (f authn.HeaderField, rest []byte, err error) {
	i := 0
	for i < len(b) && isToken(b[i]) {
		i++
	}
	switch {
	case i == len(b):
		return f, nil, errFieldName
	case b[i] == ' ' || b[i] == '\t':
		if i == 0 {
			return f, nil, errFolded
		}
		return f, nil, errSpaceBeforeColon
	case b[i] == '\n':
		return f, nil, errBareLF
	case b[i] != ':' || i == 0:
		return f, nil, errFieldName
	}
	f.Name = b[:i:i]
	i++
	start := i
	for i < len(b) && classes[b[i]]&inValue != 0 {
		i++
	}
	switch {
	case i+1 >= len(b), b[i] == '\r' && b[i+1] != '\n':
		return f, nil, errFieldValue
	case b[i] == '\n':
		return f, nil, errBareLF
	case b[i] != '\r':
		return f, nil, errFieldValue
	}
	f.Value = trimSpace(b[start:i:i])
	return f, b[i+2:], nil
}

// trimSpace cuts off the optional white space of RFC 9110 section 5.6.3.
func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// seenFields are the fields that may come only once and did.
type seenFields uint8

const (
	seenHost seenFields = 1 << iota
	seenOrigin
	seenAuthorization
	seenCookie
	seenKey
	seenVersion
)

// once reports whether f has not come before.
func (s *seenFields) once(f seenFields) bool {
	old := *s
	*s |= f
	return old&f == 0
}

// take puts a field that the handshake looks at where it belongs. The length of a name says what it can be.
func (s *seenFields) take(f authn.HeaderField, r *authn.Request, u *upgrade) error {
	once := true
	switch v := f.Value; len(f.Name) {
	case len("host"):
		if equalFold(f.Name, "host") {
			once, r.Host = s.once(seenHost), v
			if once && !isHost(v) {
				return errHost
			}
		}
	case len("origin"): // and "cookie"
		if equalFold(f.Name, "origin") {
			once, r.Origin, r.HasOrigin = s.once(seenOrigin), v, true
		} else if equalFold(f.Name, "cookie") {
			once, r.Cookie = s.once(seenCookie), v
		}
	case len("upgrade"):
		if equalFold(f.Name, "upgrade") {
			u.websocket = u.websocket || hasWord(v, "websocket")
		}
	case len("connection"):
		if equalFold(f.Name, "connection") {
			u.connection = u.connection || hasWord(v, "upgrade")
		}
	case len("authorization"):
		if equalFold(f.Name, "authorization") {
			once, r.Authorization, r.HasAuthorization = s.once(seenAuthorization), v, true
		}
	case len("content-length"):
		if equalFold(f.Name, "content-length") && string(v) != "0" {
			return errBody
		}
	case len("transfer-encoding"): // and "sec-websocket-key"
		if equalFold(f.Name, "transfer-encoding") {
			return errBody
		} else if equalFold(f.Name, "sec-websocket-key") {
			once, u.key = s.once(seenKey), v
		}
	case len("sec-websocket-version"):
		if equalFold(f.Name, "sec-websocket-version") {
			once, u.version = s.once(seenVersion), v
		}
	case len("sec-websocket-protocol"):
		if equalFold(f.Name, "sec-websocket-protocol") {
			return takeProtocols(v, r)
		}
	}
	if !once {
		return errTwice
	}
	return nil
}

// takeProtocols adds the subprotocols of one line. Empty elements are skipped, as RFC 9110 section 5.6.1.2 wants.
func takeProtocols(list []byte, r *authn.Request) error {
	for len(list) > 0 {
		var p []byte
		p, list, _ = bytes.Cut(list, []byte(","))
		if p = trimSpace(p); len(p) == 0 {
			continue
		}
		if !isTokens(p) {
			return errSubprotocol
		}
		r.Protocols = append(r.Protocols, p)
	}
	return nil
}

// hasWord reports whether the comma-separated list has the element word, which is in lower case.
func hasWord(list []byte, word string) bool {
	for len(list) > 0 {
		var e []byte
		e, list, _ = bytes.Cut(list, []byte(","))
		if equalFold(trimSpace(e), word) {
			return true
		}
	}
	return false
}

// equalFold compares b with s, which is in lower case, without the case of ASCII letters.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(s) {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// isHost reports whether v is a host with an optional port, as RFC 9112 section 3.2 and RFC 3986 section 3.2.2 define
// them, but for two that no client sends: a port without digits, and an address of a future version of IP.
func isHost(v []byte) bool {
	host := v
	if i := bytes.LastIndexByte(v, ':'); i >= 0 && bytes.IndexByte(v[i:], ']') < 0 {
		if host = v[:i]; !isPort(v[i+1:]) {
			return false
		}
	}
	if len(host) == 0 {
		return false
	}
	if host[0] == '[' {
		if host[len(host)-1] != ']' {
			return false
		}
		a, err := netip.ParseAddr(string(host[1 : len(host)-1]))
		return err == nil && a.Is6() && a.Zone() == ""
	}
	for _, c := range host {
		if classes[c]&inHost == 0 && c != '%' {
			return false
		}
	}
	return isEscaped(host)
}

func isPort(p []byte) bool {
	n := 0
	for _, c := range p {
		if !isDigit(c) || len(p) > 5 {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return len(p) > 0 && n <= 65535
}

// check reports what keeps the request from becoming a WebSocket (RFC 6455 section 4.2.1): a *[reasonError], or nil.
func (u *upgrade) check() error {
	switch {
	case !u.websocket || !u.connection:
		return errNotUpgrade
	case string(u.version) != "13":
		return errWebSocketVersion
	case !isKey(u.key):
		return errKey
	}
	return nil
}

// isKey reports whether k is 16 bytes in base64.
func isKey(k []byte) bool {
	if len(k) != 24 || string(k[22:]) != "==" {
		return false
	}
	for _, c := range k[:22] {
		if !isDigit(c) && ('a' > c|0x20 || c|0x20 > 'z') && c != '+' && c != '/' {
			return false
		}
	}
	return true
}
