package authn

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fairlead-ws/fairlead/session"
)

// claims is a JSON object, the header or the payload of a token, with its values not yet read. It is no struct with a field
// for each, because encoding/json would let a claim "EXP" stand in for "exp", and no map, because that costs more than the
// signature. It borrows the bytes that it was read from.
type claims struct {
	members       []member
	exp, nbf, iat jwt.NumericDate // zero until they are asked for, and where there is none
}

// member is one claim: its name, and its value as JSON.
type member struct{ name, raw []byte }

// maxClaimDepth is how deep a value may be. Python gives up at about a thousand.
const maxClaimDepth = 500

// parse reads b. It returns false unless b is one JSON object and nothing else, in UTF-8 (RFC 8259 section 8.1, which
// [json.Valid] does not look at), and no deeper than maxClaimDepth.
func (c *claims) parse(b []byte) bool {
	if !json.Valid(b) || !utf8.Valid(b) {
		return false
	}
	c.members = c.members[:0]
	i := skipSpace(b, 0)
	if b[i] != '{' {
		return false
	}
	for i = skipSpace(b, i+1); b[i] != '}'; {
		end := skipString(b, i)
		name := b[i+1 : end-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			var s string
			if err := json.Unmarshal(b[i:end], &s); err != nil {
				return false
			}
			name = []byte(s)
		}
		i = skipSpace(b, skipSpace(b, end)+1) // the colon
		if end = skipValue(b, i); end < 0 {
			return false
		}
		c.members = append(c.members, member{name, b[i:end]})
		if i = skipSpace(b, end); b[i] == ',' {
			i = skipSpace(b, i+1)
		}
	}
	return true
}

// reset lets go of the bytes and forgets the dates. It comes before the claims of another token.
func (c *claims) reset() {
	members := c.members[:cap(c.members)]
	if clear(members); len(members) > maxKeptMembers {
		members = nil
	}
	*c = claims{members: members[:0]}
}

// get returns the value of a claim as JSON. Of two with one name the last counts (RFC 7519 section 4).
func (c *claims) get(name string) (raw []byte, ok bool) {
	for i := len(c.members) - 1; i >= 0; i-- {
		if string(c.members[i].name) == name {
			return c.members[i].raw, true
		}
	}
	return nil, false
}

// skipSpace returns where the white space from i ends.
func skipSpace(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r' {
		i++
	}
	return i
}

// skipString returns where the string that begins at i ends.
func skipString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// skipValue returns where the value that begins at i ends, inside an object; less than 0 where it is too deep.
func skipValue(b []byte, i int) int {
	depth := 0
	for {
		switch b[i] {
		case '"':
			if i = skipString(b, i); depth == 0 {
				return i
			}
			continue
		case '{', '[':
			if depth++; depth == maxClaimDepth { // the object around it is one
				return -1
			}
		case '}', ']':
			if depth == 0 { // the end of a number or a literal, and of the object
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
}

// claimError says which claim is wrong, and how; never what it holds.
type claimError struct{ claim, what string }

func (e *claimError) Error() string { return "claim " + strconv.Quote(e.claim) + " " + e.what }

// maxYear9999 is the last second that RFC 3339, and so the journal, can write. What is beyond is a time in milliseconds.
const maxYear9999 = 253402300799

// minYear0 is the first second that it can write.
const minYear0 = -62167219200

// date reads a NumericDate into t: a JSON number, whole or not, of seconds (RFC 7519 section 2). Digits in quotes are none.
// It returns t, or nil where the claim is absent.
func (c *claims) date(t *jwt.NumericDate, name string) (*jwt.NumericDate, error) {
	raw, ok := c.get(name)
	if !ok {
		return nil, nil //nolint:nilnil // as jwt.Claims wants it: the claim is absent
	}
	if sec, ok := wholeSeconds(raw); ok {
		t.Time = time.Unix(sec, 0).UTC()
		return t, nil
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	switch {
	case err != nil: // JSON was checked before, so it is a string, null or something with parts
		return nil, &claimError{name, "is not a number"}
	case f > maxYear9999:
		return nil, &claimError{name, "is beyond the year 9999: are they milliseconds?"}
	case f < minYear0:
		return nil, &claimError{name, "is before the year 0"}
	}
	sec, frac := math.Modf(f)
	t.Time = time.Unix(int64(sec), int64(frac*1e9)).UTC()
	return t, nil
}

// wholeSeconds reads a number of at most eleven digits, which is in range whatever it is. Nearly every date is one, and
// [strconv.ParseFloat] has a frame of a kilobyte, for which the stack of a handshake would have to grow.
func wholeSeconds(raw []byte) (sec int64, ok bool) {
	if len(raw) > 11 {
		return 0, false
	}
	for _, b := range raw {
		if b < '0' || b > '9' {
			return 0, false
		}
		sec = 10*sec + int64(b-'0')
	}
	return sec, len(raw) > 0
}

// maxText bounds the texts of a token that an identity keeps, in bytes. A name of Django has 150 characters at most, each of
// which may have four.
const maxText = 1024

// appendText reads a claim that is a string, or an integer as its digits: 1 and "1" are the same user. It appends nothing
// where the claim is absent or null. Everything else is an error: 1.0 or 1e0 would be a second spelling of a user, and
// control characters go into no log and no query. What is longer than maxText is an error too.
func (c *claims) appendText(dst []byte, name string) ([]byte, error) {
	start := len(dst)
	dst, err := c.appendLongText(dst, name)
	if err == nil && len(dst)-start > maxText {
		return nil, &claimError{name, "is longer than " + strconv.Itoa(maxText) + " bytes"}
	}
	return dst, err
}

// appendLongText does the same, however long it is.
func (c *claims) appendLongText(dst []byte, name string) ([]byte, error) {
	raw, ok := c.get(name)
	if !ok || string(raw) == "null" {
		return dst, nil
	}
	start := len(dst)
	switch {
	case raw[0] == '"':
		if dst, ok = appendUnquoted(dst, raw); !ok {
			return nil, &claimError{name, "is not valid Unicode"}
		}
		for _, b := range dst[start:] {
			if b < ' ' || b == 0x7f {
				return nil, &claimError{name, "has a control character"}
			}
		}
	case isInteger(raw):
		dst = append(dst, raw...)
	default:
		return nil, &claimError{name, "is neither a string nor an integer"}
	}
	return dst, nil
}

// isInteger reports whether a JSON number has one spelling only: no fraction, no exponent, no minus zero.
func isInteger(raw []byte) bool {
	digits := bytes.TrimPrefix(raw, []byte("-"))
	for _, c := range digits {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(digits) > 0 && string(raw) != "-0"
}

// appendUnquoted reads a JSON string. ok is false where it is not Unicode: raw bytes that are no UTF-8, half of a surrogate
// pair, or the character that stands for either, since any of them would make one name of two.
func appendUnquoted(dst, raw []byte) (_ []byte, ok bool) {
	start := len(dst)
	if bytes.IndexByte(raw, '\\') < 0 {
		dst = append(dst, raw[1:len(raw)-1]...)
	} else {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return dst, false
		}
		dst = append(dst, s...)
	}
	for i := start; i < len(dst); {
		r, n := rune(dst[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(dst[i:])
		}
		if r == utf8.RuneError { // of a bad byte, or as it came
			return dst, false
		}
		i += n
	}
	return dst, true
}

// list reads a claim that is a list of strings. It is nil where the claim is absent or null.
func (c *claims) list(name string) ([]string, error) {
	raw, ok := c.get(name)
	if !ok {
		return nil, nil
	}
	var list []string
	switch err := json.Unmarshal(raw, &list); {
	case err != nil, slices.Contains(list, "") && hasNull(raw):
		return nil, &claimError{name, "is not a list of strings"}
	case slices.ContainsFunc(list, func(s string) bool { return strings.ContainsRune(s, utf8.RuneError) }): // of half a surrogate pair, or as it came
		return nil, &claimError{name, "has an entry that is not valid Unicode"}
	case len(list) == 0:
		return nil, nil
	}
	return list, nil
}

// hasNull reports whether null is in a list of strings: encoding/json makes an empty one of it.
func hasNull(raw []byte) bool {
	var list []*string
	err := json.Unmarshal(raw, &list)
	return err != nil || slices.Contains(list, nil)
}

// grants reads a claim that lists names of groups. An entry that is longer than any of them means nothing: it is one of a
// list that is for others as well, such as that of a directory, and is left out.
func (c *claims) grants(name string) ([]string, error) {
	list, err := c.list(name)
	if list = slices.DeleteFunc(list, func(s string) bool { return len(s) > session.MaxGroupName+len("*") }); len(list) == 0 {
		list = nil
	}
	return list, err
}

// keep reads the named claims as encoding/json does, numbers as json.Number. It is nil where there is none of them.
func (c *claims) keep(names []string) (map[string]any, error) {
	var kept map[string]any
	for _, name := range names {
		raw, ok := c.get(name)
		if !ok {
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		var v any
		if err := dec.Decode(&v); err != nil {
			return nil, &claimError{name, "cannot be read"}
		}
		if kept == nil {
			kept = make(map[string]any, len(names))
		}
		kept[name] = v
	}
	return kept, nil
}

// GetExpirationTime implements [jwt.Claims]. Like the other dates it is good until reset or parse.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.date(&c.exp, "exp") }

// GetNotBefore implements [jwt.Claims].
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return c.date(&c.nbf, "nbf") }

// GetIssuedAt implements [jwt.Claims].
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return c.date(&c.iat, "iat") }

// GetIssuer implements [jwt.Claims]. It is only asked where an issuer is configured.
func (c *claims) GetIssuer() (string, error) {
	var buf [64]byte
	iss, err := c.appendText(buf[:0], "iss")
	return string(iss), err
}

// GetSubject implements [jwt.Claims]. Which claim is the subject is ours to say, so this one is not looked at.
func (c *claims) GetSubject() (string, error) { return "", nil }

// GetAudience implements [jwt.Claims]: one string or a list of them (RFC 7519 section 4.1.3).
func (c *claims) GetAudience() (jwt.ClaimStrings, error) {
	raw, ok := c.get("aud")
	if !ok || string(raw) == "null" {
		return nil, nil
	}
	if raw[0] == '"' {
		var buf [64]byte
		aud, ok := appendUnquoted(buf[:0], raw)
		if !ok {
			return nil, &claimError{"aud", "is not valid Unicode"}
		}
		if len(aud) == 0 { // as PyJWT has it: nobody is meant
			return nil, nil
		}
		return jwt.ClaimStrings{string(aud)}, nil
	}
	return c.list("aud")
}
