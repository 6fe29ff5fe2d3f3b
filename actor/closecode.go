package actor

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// CloseCode is the status code of a close frame, RFC 6455 section 7.4, or one of Fairlead's own from 4400 on, whose last
// three digits are those of the HTTP status that would say the same.
type CloseCode uint16

// The close codes that Fairlead sends or counts.
const (
	CloseNormal          CloseCode = 1000
	CloseGoingAway       CloseCode = 1001
	CloseProtocolError   CloseCode = 1002
	CloseUnsupported     CloseCode = 1003
	CloseNoStatus        CloseCode = 1005 // the peer's close frame had no code; never on the wire
	CloseAbnormal        CloseCode = 1006 // the connection ended without a close frame; never on the wire
	CloseInvalidPayload  CloseCode = 1007 // a text that is not UTF-8
	ClosePolicyViolation CloseCode = 1008
	CloseMessageTooBig   CloseCode = 1009
	CloseInternalError   CloseCode = 1011
	CloseServiceRestart  CloseCode = 1012 // the node drains: connect again
	CloseTryAgainLater   CloseCode = 1013 // overloaded, or the client reads too slowly
	CloseBadCommand      CloseCode = 4400
	CloseUnauthenticated CloseCode = 4401 // the credential expired: get a new one and connect again
	CloseForbidden       CloseCode = 4403
	CloseAuthTimeout     CloseCode = 4408
	CloseReplaced        CloseCode = 4409
	CloseRateLimited     CloseCode = 4429
	CloseUnavailable     CloseCode = 4503
)

// knownCodes are the codes with a counter of their own; all others share one.
var knownCodes = [...]CloseCode{
	CloseNormal, CloseGoingAway, CloseProtocolError, CloseUnsupported, CloseNoStatus, CloseAbnormal, CloseInvalidPayload,
	ClosePolicyViolation, CloseMessageTooBig, CloseInternalError, CloseServiceRestart, CloseTryAgainLater, CloseBadCommand,
	CloseUnauthenticated, CloseForbidden, CloseAuthTimeout, CloseReplaced, CloseRateLimited, CloseUnavailable,
}

// maxCloseReason is what a close frame has room for: 125 bytes less the code.
const maxCloseReason = 123

// onWire reports whether the code may stand in a close frame: RFC 6455 section 7.4, and the codes that IANA has
// registered since (1012 to 1014).
func (c CloseCode) onWire() bool {
	switch {
	case 3000 <= c && c <= 4999, 1000 <= c && c <= 1003, 1007 <= c && c <= 1014:
		return true
	}
	return false
}

// Closure says how a connection ended.
type Closure struct {
	Code   CloseCode
	Reason string // for people; the peer's own words when ByPeer is true
	ByPeer bool   // the peer closed first, or just went away
}

// closeFrame returns a close frame with the code and the reason, which is made valid UTF-8 (RFC 6455 section 5.5.1) and cut
// to what a frame has room for. A code that must not be on the wire gives a frame without any.
func closeFrame(code CloseCode, reason string) []byte {
	if !code.onWire() {
		return []byte{finBit | byte(ws.OpClose), 0}
	}
	reason = strings.ToValidUTF8(reason, string(utf8.RuneError))
	if len(reason) > maxCloseReason {
		reason = reason[:maxCloseReason]
		for !utf8.ValidString(reason) {
			reason = reason[:len(reason)-1]
		}
	}
	f := make([]byte, 0, 4+len(reason))
	f = append(f, finBit|byte(ws.OpClose), byte(2+len(reason)))
	f = binary.BigEndian.AppendUint16(f, uint16(code))
	return append(f, reason...)
}

// parseClose takes apart the payload of a close frame (RFC 6455 section 5.5.1).
func parseClose(payload []byte) (CloseCode, string, error) {
	switch {
	case len(payload) == 0:
		return CloseNoStatus, "", nil
	case len(payload) == 1:
		return 0, "", violation(CloseProtocolError, "a close frame with half a status code")
	}
	code := CloseCode(binary.BigEndian.Uint16(payload))
	if !code.onWire() {
		return 0, "", violation(CloseProtocolError, "a close frame with a status code that is not for the wire")
	}
	if !utf8.Valid(payload[2:]) {
		return 0, "", violation(CloseInvalidPayload, "a close frame whose reason is not UTF-8")
	}
	return code, string(payload[2:]), nil
}
