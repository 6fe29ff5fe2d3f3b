package gateway

import (
	"bytes"
	"net/netip"

	"github.com/fairlead-ws/fairlead/authn"
)

// proxies are those whose word on a client's address is believed. They are fixed after New.
type proxies []netip.Prefix

// trusts reports whether a is one of them.
func (p proxies) trusts(a netip.Addr) bool {
	for _, n := range p {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// client returns who sent a request that came from peer with these fields: what stands in X-Forwarded-For or Forwarded (RFC
// 7239), from right to left, as far as proxies that are trusted say so. What stands left of that anybody can have written.
// Of a client whose proxy does not know the address, or writes it in a way that is none, the address is the proxy's.
//
// A proxy that sets one of the two passes the other on as it came, from whoever. Where there are both and they do not
// agree, neither is believed, and the address is peer's.
func (p proxies) client(peer netip.AddrPort, fields []authn.HeaderField) netip.AddrPort {
	if !p.trusts(peer.Addr()) {
		return peer
	}
	w1, w2 := walk{proxies: p, at: peer}, walk{proxies: p, at: peer}
	for i := len(fields) - 1; i >= 0; i-- {
		switch f := &fields[i]; len(f.Name) {
		case len("x-forwarded-for"):
			if equalFold(f.Name, "x-forwarded-for") {
				w1.came = true
				w1.list(f.Value)
			}
		case len("forwarded"):
			if equalFold(f.Name, "forwarded") {
				w2.came = true
				w2.elements(f.Value)
			}
		}
	}
	switch {
	case !w2.came:
		return w1.at
	case !w1.came:
		return w2.at
	case w1.at.Addr() == w2.at.Addr():
		return w2.at // which may have the port
	}
	return peer
}

// walk goes from a proxy to the one before it, and on, as long as each is trusted.
type walk struct {
	proxies proxies
	at      netip.AddrPort
	came    bool // there is such a field
	ended   bool // at is the client
}

// back goes one step back, to what text says. It reports false when that is the end, or no step.
func (w *walk) back(text []byte) bool {
	if w.ended = w.ended || !w.proxies.trusts(w.at.Addr()); w.ended {
		return false
	}
	a, ok := parseNode(text)
	if !ok {
		w.ended = true
		return false
	}
	w.at = a
	return true
}

// list takes the value of one X-Forwarded-For field.
func (w *walk) list(v []byte) {
	for len(v) > 0 {
		i := bytes.LastIndexByte(v, ',')
		if e := trimSpace(v[i+1:]); len(e) > 0 && !w.back(e) {
			return
		}
		v = v[:max(i, 0)]
	}
}

// elements takes the value of one Forwarded field. Its quoted texts may hold commas: it can only be read from the left.
func (w *walk) elements(v []byte) {
	var kept [8][]byte
	nodes, ok := appendNodes(kept[:0], v)
	if !ok {
		w.ended = true
		return
	}
	for i := len(nodes) - 1; i >= 0; i-- {
		if !w.back(nodes[i]) {
			return
		}
	}
}

// appendNodes appends the for parameter of each element of a Forwarded field, without its quotes: nil for an element that
// has none. It reports false for a field that is not one of RFC 7239 section 4. A value with a colon needs quotes there;
// not all proxies write them, and without there is no doubt either.
func appendNodes(nodes [][]byte, v []byte) ([][]byte, bool) {
	for {
		var node []byte
		pairs := 0
		for {
			v = trimSpace(v)
			if len(v) == 0 || v[0] == ',' || v[0] == ';' { // an empty pair
				if len(v) == 0 || v[0] == ',' {
					break
				}
				v = v[1:]
				continue
			}
			pairs++
			name, value, rest, ok := cutPair(v)
			if !ok {
				return nodes, false
			}
			if equalFold(name, "for") {
				if node != nil {
					return nodes, false
				}
				node = value
			}
			v = trimSpace(rest)
			if len(v) > 0 && v[0] != ',' && v[0] != ';' {
				return nodes, false
			}
		}
		if pairs > 0 { // empty elements count for nothing, RFC 9110 section 5.6.1.2
			nodes = append(nodes, node)
		}
		if len(v) == 0 {
			return nodes, true
		}
		v = v[1:]
	}
}

// cutPair cuts a name=value from the front of v. The value is without its quotes, and never nil.
func cutPair(v []byte) (name, value, rest []byte, ok bool) {
	i := 0
	for i < len(v) && isToken(v[i]) {
		i++
	}
	if i == 0 || i+1 >= len(v) || v[i] != '=' {
		return nil, nil, nil, false
	}
	name, v = v[:i], v[i+1:]
	if v[0] != '"' {
		i = 0
		for i < len(v) && (isToken(v[i]) || v[i] == ':' || v[i] == '[' || v[i] == ']') {
			i++
		}
		return name, v[:i], v[i:], i > 0
	}
	for i = 1; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++ // what is escaped is in no address
		case '"':
			return name, v[1:i], v[i+1:], true
		}
	}
	return nil, nil, nil, false
}

// parseNode reads an address with or without a port: 192.0.2.1, 192.0.2.1:4711, 2001:db8::1, [2001:db8::1], [2001:db8::1]:4711.
// What hides its name (unknown, _hidden) is none.
func parseNode(text []byte) (netip.AddrPort, bool) {
	if len(text) == 0 || len(text) > len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535") {
		return netip.AddrPort{}, false
	}
	s := string(text)
	a, err := netip.ParseAddr(s)
	port := uint16(0)
	if err != nil && s[0] == '[' && s[len(s)-1] == ']' {
		if a, err = netip.ParseAddr(s[1 : len(s)-1]); err == nil && a.Is4() {
			return netip.AddrPort{}, false
		}
	}
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.AddrPort{}, false
		}
		a, port = ap.Addr(), ap.Port()
	}
	if a.Zone() != "" {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), port), true
}
