package gateway

import (
	"bytes"

	"github.com/fairlead-ws/fairlead/authn"
)

// What a client's offer of permessage-deflate is answered with (RFC 7692 section 7.1): no message depends on one before it,
// so that nothing is kept for a connection between two, and a message is compressed once for all who get it. A client that
// names its window has to be told the server's, which is the largest there is.
const (
	agreed           = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	agreedWithWindow = agreed + "; server_max_window_bits=15"
)

// negotiate returns the answer to the first offer of permessage-deflate in the fields that can be met, or "" for none. What
// is malformed, or not known, is declined as if it had not been there.
func negotiate(fields []authn.HeaderField) string {
	for _, f := range fields {
		if !equalFold(f.Name, "sec-websocket-extensions") {
			continue
		}
		for list := f.Value; len(list) > 0; {
			var offer []byte
			offer, list = cutUnquoted(list, ',')
			if answer := accept(offer); answer != "" {
				return answer
			}
		}
	}
	return ""
}

// cutUnquoted cuts b at the first sep that is not in a quoted string (RFC 9110 section 5.6.4).
func cutUnquoted(b []byte, sep byte) (before, after []byte) {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case !quoted && c == sep:
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}

// The parameters of permessage-deflate, each of which may come once.
const (
	serverNoTakeover = 1 << iota
	clientNoTakeover
	serverWindow
	clientWindow
)

// accept returns the answer to one offer, "" where it is declined.
func accept(offer []byte) string {
	name, params := cutUnquoted(offer, ';')
	if !equalFold(trimSpace(name), "permessage-deflate") {
		return ""
	}
	seen := 0
	for len(params) > 0 {
		var param []byte
		param, params = cutUnquoted(params, ';')
		kind, ok := parameter(trimSpace(param))
		if !ok || seen&kind != 0 {
			return ""
		}
		seen |= kind
	}
	if seen&serverWindow != 0 {
		return agreedWithWindow
	}
	return agreed
}

// parameter returns which parameter p is. ok is false for one that cannot be met: it is not known, its value is none that it
// may have, or it asks for a smaller window than the server's compressor has.
func parameter(p []byte) (kind int, ok bool) {
	name, value, valued := bytes.Cut(p, []byte("="))
	name, value = trimSpace(name), trimSpace(value)
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		value = value[1 : n-1]
	}
	switch {
	case equalFold(name, "server_no_context_takeover"):
		return serverNoTakeover, !valued
	case equalFold(name, "client_no_context_takeover"):
		return clientNoTakeover, !valued
	case equalFold(name, "server_max_window_bits"):
		return serverWindow, string(value) == "15"
	case equalFold(name, "client_max_window_bits"):
		return clientWindow, !valued || isWindow(value)
	}
	return 0, false
}

// isWindow reports whether v is a number from 8 to 15, without leading zeros.
func isWindow(v []byte) bool {
	switch len(v) {
	case 1:
		return v[0] == '8' || v[0] == '9'
	case 2:
		return v[0] == '1' && '0' <= v[1] && v[1] <= '5'
	}
	return false
}
