package authn

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// The form of a ticket is ticketPrefix and base64url, without padding, of
//
//	id (16 bytes) | body | HMAC-SHA256 of "id | body" under the tickets' key (32 bytes)
//
// where the body is these fields in order, a number as an unsigned varint and a text as its length and its bytes:
//
//	issued (Unix milliseconds) | time to live (milliseconds) | end of the connection (Unix seconds, 0: none)
//	place | subject | name | route | origin | number of groups | groups
//
// It is Fairlead's alone to read. Another form gets another prefix and another key.
const (
	ticketPrefix = "ft1."
	ticketID     = 16
	// maxTicketGroups bounds what a ticket allows, and so its length.
	maxTicketGroups = 64
)

// MaxTicket is the longest ticket, in bytes. One with few groups has about 150.
const MaxTicket = 4096

// ticketBase64 is strict, so that no ticket has a second spelling.
var ticketBase64 = base64.RawURLEncoding.Strict()

// ticketValue is what a ticket says.
type ticketValue struct {
	id      [ticketID]byte
	issued  time.Time // to the millisecond
	ttl     time.Duration
	session time.Time // when a connection ends, to the second; zero: it does not
	place   string    // of the register, see Spender
	subject string
	name    string
	route   string
	origin  string // canonical; "": any
	groups  []string
}

// seal returns the ticket as text.
func (t *ticketValue) seal(key []byte) []byte {
	b := make([]byte, 0, 256)
	b = append(b, t.id[:]...)
	b = binary.AppendUvarint(b, uint64(t.issued.UnixMilli()))
	b = binary.AppendUvarint(b, uint64(t.ttl.Milliseconds()))
	end := uint64(0)
	if !t.session.IsZero() {
		end = uint64(t.session.Unix())
	}
	b = binary.AppendUvarint(b, end)
	for _, s := range []string{t.place, t.subject, t.name, t.route, t.origin} {
		b = appendTicketText(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(t.groups)))
	for _, g := range t.groups {
		b = appendTicketText(b, g)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(b)
	b = mac.Sum(b)
	return ticketBase64.AppendEncode([]byte(ticketPrefix), b)
}

func appendTicketText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// unsealTicket reads a ticket, whose signature is looked at before what it says. The error is an [*Error] that says nothing
// of what it holds.
func unsealTicket(key, text []byte) (*ticketValue, error) {
	if len(text) > MaxTicket || len(text) < len(ticketPrefix) || string(text[:len(ticketPrefix)]) != ticketPrefix {
		return nil, reject(ReasonMalformed, "it is no ticket of this form")
	}
	b, err := ticketBase64.AppendDecode(nil, text[len(ticketPrefix):])
	if err != nil || len(b) < ticketID+sha256.Size || hasLineBreak(text) {
		return nil, reject(ReasonMalformed, "it is no ticket: it is cut, or was changed")
	}
	signed, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	mac := hmac.New(sha256.New, key)
	mac.Write(signed)
	if !hmac.Equal(mac.Sum(nil), sum) {
		return nil, reject(ReasonBadSignature, "it is not signed with this session.secret")
	}
	t := &ticketValue{}
	if !t.parse(signed) { // signed by us, and yet
		return nil, reject(ReasonMalformed, "it is signed, but of no form that is known")
	}
	return t, nil
}

// hasLineBreak reports whether text has what base64 would skip.
func hasLineBreak(text []byte) bool {
	for _, c := range text {
		if c == '\r' || c == '\n' {
			return true
		}
	}
	return false
}

// parse reads what was signed. It reports false unless that is a whole ticket and nothing else.
func (t *ticketValue) parse(b []byte) bool {
	r := ticketReader{rest: b, ok: len(b) >= ticketID}
	if !r.ok {
		return false
	}
	r.rest = b[copy(t.id[:], b):]
	issued, ttl, end := r.number(), r.number(), r.number()
	t.place, t.subject, t.name, t.route, t.origin = r.text(), r.text(), r.text(), r.text(), r.text()
	n := r.number()
	if n > maxTicketGroups {
		return false
	}
	for range n {
		t.groups = append(t.groups, r.text())
	}
	if !r.ok || len(r.rest) > 0 || issued > maxYear9999*1000 || ttl > uint64(MaxTicketTTL.Milliseconds()) || end > maxYear9999 {
		return false
	}
	t.issued, t.ttl = time.UnixMilli(int64(issued)).UTC(), time.Duration(ttl)*time.Millisecond
	if end > 0 {
		t.session = time.Unix(int64(end), 0).UTC()
	}
	return true
}

// ticketReader reads the fields of a ticket. Once ok is false it stays so.
type ticketReader struct {
	rest []byte
	ok   bool
}

func (r *ticketReader) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.ok = false
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *ticketReader) text() string {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.ok = false
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}
