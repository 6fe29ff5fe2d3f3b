package actor

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// RFC 6455 section 7.4 and IANA's registry: 1004 is reserved, 1005, 1006 and 1015 are never on the wire, 1016 to 2999
// are not given out yet.
func TestOnWire(t *testing.T) {
	for c := range 1 << 16 {
		want := c >= 1000 && c <= 1014 && c != 1004 && c != 1005 && c != 1006 || c >= 3000 && c < 5000
		if got := CloseCode(c).onWire(); got != want {
			t.Errorf("onWire(%d) = %v, want %v", c, got, want)
		}
	}
	for _, c := range knownCodes {
		if !c.onWire() && c != CloseNoStatus && c != CloseAbnormal {
			t.Errorf("%d is a code of ours and not for the wire", c)
		}
	}
}

var closeCases = []struct {
	name    string
	payload string
	code    CloseCode
	reason  string
	fault   CloseCode
}{
	{"nothing", "", CloseNoStatus, "", 0},
	{"half a code", "\x03", 0, "", CloseProtocolError},
	{"a code", "\x03\xe8", CloseNormal, "", 0},
	{"a code and a reason", "\x03\xe9going", CloseGoingAway, "going", 0},
	{"the longest reason", "\x0f\xa0" + strings.Repeat("a", maxCloseReason), 4000, strings.Repeat("a", maxCloseReason), 0},
	{"0", "\x00\x00", 0, "", CloseProtocolError},
	{"999", "\x03\xe7", 0, "", CloseProtocolError},
	{"1004", "\x03\xec", 0, "", CloseProtocolError},
	{"1005", "\x03\xed", 0, "", CloseProtocolError},
	{"1006", "\x03\xee", 0, "", CloseProtocolError},
	{"1014", "\x03\xf6", 1014, "", 0},
	{"1015", "\x03\xf7", 0, "", CloseProtocolError},
	{"2999", "\x0b\xb7", 0, "", CloseProtocolError},
	{"3000", "\x0b\xb8", 3000, "", 0},
	{"4999", "\x13\x87", 4999, "", 0},
	{"5000", "\x13\x88", 0, "", CloseProtocolError},
	{"65535", "\xff\xff", 0, "", CloseProtocolError},
	{"a reason that is not UTF-8", "\x03\xe8a\xff", 0, "", CloseInvalidPayload},
	{"a reason that ends in a character", "\x03\xe8\xe2\x82", 0, "", CloseInvalidPayload},
}

func TestParseClose(t *testing.T) {
	for _, tc := range closeCases {
		c, reason, err := parseClose([]byte(tc.payload))
		var fault CloseCode
		if v := (*violationError)(nil); errors.As(err, &v) {
			fault = v.code
		}
		if c != tc.code || reason != tc.reason || fault != tc.fault || (err != nil) != (tc.fault != 0) {
			t.Errorf("%s: %d %q %v, want %d %q and fault %d", tc.name, c, reason, err, tc.code, tc.reason, tc.fault)
		}
	}
}

func TestCloseFrame(t *testing.T) {
	long := strings.Repeat("a", maxCloseReason)
	for _, tc := range []struct {
		name         string
		code         CloseCode
		reason, want string // want: the reason on the wire
	}{
		{"plain", CloseNormal, "bye", "bye"},
		{"no reason", CloseForbidden, "", ""},
		{"the longest reason", CloseNormal, long, long},
		{"a reason that is too long", CloseNormal, long + "b", long},
		{"a cut inside a character", CloseNormal, long[2:] + "€", long[2:]},
		{"a cut behind a character", CloseNormal, long[3:] + "€€", long[3:] + "€"},
		{"a reason that is not UTF-8", CloseNormal, "a\xffb\xe2", "a\uFFFDb\uFFFD"},
		{"a long one that is not UTF-8", CloseNormal, "\xff" + long, "\uFFFD" + long[3:]},
	} {
		f := closeFrame(tc.code, tc.reason)
		if f[0] != closeBit || int(f[1]) != len(f)-2 || len(f) > 2+maxControl {
			t.Fatalf("%s: the frame is %x", tc.name, f)
		}
		if c := CloseCode(binary.BigEndian.Uint16(f[2:])); c != tc.code || string(f[4:]) != tc.want || !utf8.Valid(f[4:]) {
			t.Errorf("%s: %d %q, want %d %q", tc.name, c, f[4:], tc.code, tc.want)
		}
	}
	for _, c := range []CloseCode{0, CloseNoStatus, CloseAbnormal, 1015, 5000} {
		if f := closeFrame(c, "reason"); string(f) != string([]byte{closeBit, 0}) {
			t.Errorf("the close frame with %d is %x, want one without a payload", c, f)
		}
	}
}
