package conformance

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// allowedHosts is ALLOWED_HOSTS by variation.
var allowedHosts = map[string][]string{
	"hosts-star":        {"*"},
	"hosts-empty":       {},
	"hosts-empty-debug": {"localhost", "127.0.0.1", "[::1]"}, // Django's own
	"hosts-port":        {},                                  // a host with a port, which matches nothing
}

// origins returns the list that the servers had for the route, nil where they looked at no Origin.
func (r *request) origins(variation string) []string {
	switch r.route {
	case "d":
		if list, ok := allowedHosts[variation]; ok {
			return list
		}
		return []string{"localhost", "127.0.0.1", ".example.com", "exact.example.org"}
	case "o":
		return []string{"https://one.example.net:8443", "http://.two.example.net", "three.example.net"}
	}
	return nil
}

// page is an Origin, taken apart.
type page struct {
	scheme, host string // in lower case; an address of IPv6 in its shortest spelling
	port         string // "": the scheme has none by default
	long         bool   // the address was spelled in another way
}

var originSyntax = regexp.MustCompile(`(?i)^([a-z][a-z0-9+.-]*)://([a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])(:([0-9]{1,5}))?$`)

// parsePage takes an Origin apart. ok is false unless it is scheme, host and port, and nothing else.
func parsePage(origin string) (p page, ok bool) {
	m := originSyntax.FindStringSubmatch(origin)
	if m == nil || len(m[2]) > 255 {
		return page{}, false
	}
	p = page{scheme: strings.ToLower(m[1]), host: strings.ToLower(m[2]), port: defaultPorts[strings.ToLower(m[1])]}
	if m[5] != "" {
		n, err := strconv.ParseUint(m[5], 10, 16)
		if err != nil {
			return page{}, false
		}
		p.port = strconv.FormatUint(n, 10)
	}
	if p.host[0] == '[' {
		a, err := netip.ParseAddr(p.host[1 : len(p.host)-1])
		if err != nil || !a.Is6() {
			return page{}, false
		}
		sent := p.host
		p.host = "[" + a.String() + "]"
		p.long = p.host != sent
	}
	return p, true
}

var defaultPorts = map[string]string{"http": "80", "ws": "80", "https": "443", "wss": "443"}

// in reports whether one of the patterns is for the page.
func (p page) in(patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		scheme, host, full := strings.Cut(pattern, "://")
		if !full {
			host = pattern
		}
		host, port, hasPort := strings.Cut(host, ":")
		switch {
		case pattern == "*":
			return true
		case pattern[0] == '[':
			host = pattern
		case full && !hasPort:
			port = defaultPorts[scheme]
		}
		if full && (p.scheme != scheme || p.port != port) || !full && defaultPorts[p.scheme] == "" {
			return false
		}
		if host[0] == '.' {
			return p.host == host[1:] || strings.HasSuffix(p.host, host)
		}
		return p.host == host
	})
}

// listed reports whether the Origin is one of the servers' list.
func (r *request) listed() bool {
	o, _ := r.get("origin")
	p, ok := parsePage(o)
	return ok && p.in(r.patterns)
}

func originRule(e *Expecter, r *request, _ string) (string, bool) {
	o, ok := r.get("origin")
	if !ok || o == "null" || r.patterns == nil {
		return "", false
	}
	p, ok := parsePage(o)
	switch {
	case !ok:
		return "403", true
	case p.long && p.in(r.patterns): // an address is the same in each of its spellings
		return e.answer(r)
	}
	// A host in the list is one of the web's, and of no file or program.
	return "403", defaultPorts[p.scheme] == "" && !slices.Contains(r.patterns, "*")
}

// ownOriginRule: where Django looked at no Origin, the node asks that the page is its own.
func ownOriginRule(_ *Expecter, r *request, _ string) (string, bool) {
	o, ok := r.get("origin")
	if !ok || r.patterns != nil {
		return "", false
	}
	host, _ := r.get("host")
	p, ok := parsePage(o)
	own, okHost := parsePage(p.scheme + "://" + host)
	return r.forbidden(), !ok || !okHost || p.host != own.host || p.port == "" || p.port != own.port
}
