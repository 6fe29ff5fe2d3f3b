package authn

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// OriginPolicy says which web pages may open a connection. A browser sends the page's origin and a script cannot change
// it, so this is what keeps a foreign page from using a visitor's cookies. It is fixed after NewOriginPolicy and may be
// used by many goroutines. A nil policy is that of an empty list.
type OriginPolicy struct {
	patterns     []originPattern
	any, file    bool
	allowMissing bool
}

// originPattern is one entry of the list, in lower case.
type originPattern struct {
	scheme string // "": any of the web's
	host   string // with a leading dot: the domain and all below it; an IPv6 address in its canonical form
	port   int    // only looked at with a scheme; noPort where the scheme has none by default
}

const noPort = -1

// filePages is the Origin that some send for a page that is no site's.
const filePages = "file://"

// NewOriginPolicy returns the policy for the patterns, by the rules of channels.security.websocket.OriginValidator:
//
//	https://app.example.com        this scheme and host, and the scheme's default port
//	https://app.example.com:8443   this scheme, host and port
//	https://.example.com           the domain and all its subdomains
//	example.com, .example.com      any of http, https, ws and wss, any port
//	file://                        pages out of files, of an old WebView for example, which have no host
//	*                              any origin that has a host, "null", and none at all
//
// With patterns, a request without Origin is refused unless allowMissing, since only programs send none. Without any
// pattern, an Origin that comes must be the one that the request itself was sent to, and none is fine. A pattern that
// could never match is an error that says why.
func NewOriginPolicy(patterns []string, allowMissing bool) (*OriginPolicy, error) {
	p := &OriginPolicy{allowMissing: allowMissing}
	for _, s := range patterns {
		switch s {
		case "*":
			p.any = true
			continue
		case filePages:
			p.file = true
			continue
		}
		pattern, err := parsePattern(s)
		if err != nil {
			return nil, fmt.Errorf("authn: origin pattern %q: %w", s, err)
		}
		p.patterns = append(p.patterns, pattern)
	}
	return p, nil
}

func parsePattern(s string) (originPattern, error) {
	scheme, rest, ok := strings.Cut(strings.ToLower(s), "://")
	if !ok {
		scheme, rest = "", scheme
	}
	dot := ""
	if strings.HasPrefix(rest, ".") {
		dot, rest = ".", rest[1:]
	}
	host, port, valid := splitHostPort([]byte(rest))
	switch {
	case s == "null":
		return originPattern{}, errors.New("the origin null is nobody's own: only * matches it")
	case ok && !isScheme([]byte(scheme)):
		return originPattern{}, errors.New("what stands before :// is no scheme")
	case !valid:
		return originPattern{}, errors.New("want *, HOST, SCHEME://HOST or SCHEME://HOST:PORT, and nothing behind")
	case dot != "" && host[0] == '[':
		return originPattern{}, errors.New("an address has no subdomains")
	case !ok && port != noPort:
		return originPattern{}, fmt.Errorf("a port needs a scheme, as in https://%s; a host alone matches every port", rest)
	}
	if port == noPort {
		port = defaultPort([]byte(scheme))
	}
	return originPattern{scheme: scheme, host: dot + canonicalHost(host), port: port}, nil
}

// Check returns nil when the request may come in, and an [*Error] of kind [ErrForbidden] otherwise. An Origin is a scheme,
// a host and perhaps a port, and nothing else (RFC 6454 section 6.2); Django also takes a path, a user and a backslash.
func (p *OriginPolicy) Check(r *Request) error {
	listed := p != nil && (p.any || p.file || len(p.patterns) > 0)
	switch {
	case !r.HasOrigin && (!listed || p.any || p.allowMissing):
		return nil
	case !r.HasOrigin:
		return forbid(ReasonOrigin, "there is no Origin, and the route lists the ones it wants")
	case string(r.Origin) == "null":
		if listed && p.any {
			return nil
		}
		return forbid(ReasonOrigin, `the Origin is "null", which only * matches`)
	}
	o, ok := parseOrigin(r.Origin)
	switch {
	case listed && p.file && string(r.Origin) == filePages:
		return nil
	case !ok: // it may hold a user's password, so it is not quoted
		return forbid(ReasonOrigin, "the Origin is not a scheme, a host and perhaps a port")
	case !listed && !o.same(r):
		return forbid(ReasonOrigin, fmt.Sprintf("the Origin %.200q is not the host that was asked", r.Origin))
	case !listed || p.any:
		return nil
	}
	for i := range p.patterns {
		if p.patterns[i].matches(o) {
			return nil
		}
	}
	return forbid(ReasonOrigin, fmt.Sprintf("the Origin %.200q is not among the route's", r.Origin))
}

// origin is an Origin that was taken apart. Its slices are borrowed, and have the case in which they were sent.
type origin struct {
	scheme, host []byte
	port         int // the scheme's default where none was sent
}

func parseOrigin(b []byte) (origin, bool) {
	scheme, rest, ok := bytes.Cut(b, []byte("://"))
	if !ok || !isScheme(scheme) {
		return origin{}, false
	}
	host, port, ok := splitHostPort(rest)
	if port == noPort {
		port = defaultPort(scheme)
	}
	return origin{scheme, host, port}, ok
}

// same reports whether o is where the request was sent to. Host leaves a default port out, and which one that is depends
// on whether the client speaks TLS. Behind a balancer that ends TLS only the Origin tells, so its scheme is believed
// there: a page of another scheme on the same host and default port passes. When TLS ends here it does not.
func (o origin) same(r *Request) bool {
	host, port, ok := splitHostPort(r.Host)
	if !ok {
		return false
	}
	if port == noPort {
		if port = defaultPort(o.scheme); r.TLS {
			port = defaultPort([]byte("https"))
		}
	}
	return port != noPort && o.port == port && sameHost(o.host, canonicalHost(host))
}

func (p *originPattern) matches(o origin) bool {
	if p.scheme == "" {
		if defaultPort(o.scheme) == noPort { // file://localhost is not a page of localhost
			return false
		}
	} else if !equalFold(o.scheme, p.scheme) || o.port != p.port {
		return false
	}
	if p.host[0] != '.' {
		return sameHost(o.host, p.host)
	}
	if n := len(o.host) - len(p.host); n > 0 {
		return equalFold(o.host[n:], p.host)
	}
	return equalFold(o.host, p.host[1:])
}

// sameHost compares a host as sent with a canonical one. Only addresses in brackets have more than one spelling.
func sameHost(sent []byte, canonical string) bool {
	return equalFold(sent, canonical) || sent[0] == '[' && canonicalHost(sent) == canonical
}

// canonicalHost returns the host in lower case, an address in its shortest spelling.
func canonicalHost[T string | []byte](host T) string {
	s := strings.ToLower(string(host))
	if s[0] == '[' {
		if a, err := netip.ParseAddr(s[1 : len(s)-1]); err == nil {
			return "[" + a.String() + "]"
		}
	}
	return s
}

// defaultPort returns the port that a URL of this scheme means where it names none.
func defaultPort(scheme []byte) int {
	switch {
	case equalFold(scheme, "http"), equalFold(scheme, "ws"):
		return 80
	case equalFold(scheme, "https"), equalFold(scheme, "wss"):
		return 443
	}
	return noPort
}

// isScheme reports whether b is a scheme of RFC 3986 section 3.1.
func isScheme(b []byte) bool {
	for i, c := range b {
		switch c = lower(c); {
		case 'a' <= c && c <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return len(b) > 0
}

// splitHostPort takes "host", "host:port", "[v6]" and "[v6]:port" apart; the host keeps its brackets. ok is false for
// anything else: a user, a path, an empty label, a zone, or a character that no host of a URL has once it is on the wire.
func splitHostPort(b []byte) (host []byte, port int, ok bool) {
	end := bytes.IndexByte(b, ':')
	if len(b) > 0 && b[0] == '[' {
		end = bytes.IndexByte(b, ']')
		if end < 0 {
			return nil, noPort, false
		}
		a, err := netip.ParseAddr(string(b[1:end]))
		if err != nil || !a.Is6() || a.Zone() != "" {
			return nil, noPort, false
		}
		end++
	} else if end < 0 {
		end = len(b)
	}
	host, rest := b[:end], b[end:]
	if len(host) == 0 || host[0] != '[' && !isRegName(host) {
		return nil, noPort, false
	}
	if len(rest) == 0 {
		return host, noPort, true
	}
	if rest[0] != ':' || len(rest) == 1 || len(rest) > 6 {
		return nil, noPort, false
	}
	port = 0
	for _, c := range rest[1:] {
		if c < '0' || c > '9' {
			return nil, noPort, false
		}
		port = port*10 + int(c-'0')
	}
	return host, port, port <= 65535
}

// isRegName reports whether b is a name of dot-separated labels, or an IPv4 address. One dot at the end is allowed.
func isRegName(b []byte) bool {
	label := 0
	for _, c := range b {
		switch {
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
			continue
		case 'a' <= lower(c) && lower(c) <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			label++
		default:
			return false
		}
	}
	return len(b) > 0 && len(b) <= 255
}
