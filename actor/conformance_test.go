package actor

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// conformanceCase is what a client sends to Echo, and what must come back: frames by label, then the end.
type conformanceCase struct {
	name  string
	send  []byte
	want  []string // "text:…", "binary:…", "pong:…"
	close string   // the payload of the close frame; of a fault the code alone counts
	fault CloseCode
}

// fragments cuts a text into frames of size bytes each.
func fragments(s string, size int) (b []byte) {
	for i := 0; i < len(s); i += size {
		b0 := contBegin
		if i == 0 {
			b0 = begin
		}
		if i+size >= len(s) {
			b0 |= finBit
		}
		b = append(b, masked(b0, s[i:min(len(s), i+size)])...)
	}
	return b
}

// conformanceCases are the cases of the Autobahn test suite, sections 1 to 7, by their numbers there.
func conformanceCases(w wiring) (cases []conformanceCase) {
	bye := masked(closeBit, code(CloseNormal, ""))
	good := func(name string, send []byte, want ...string) {
		cases = append(cases, conformanceCase{name: name, send: frames(send, bye), want: want, close: code(CloseNormal, "")})
	}
	bad := func(name string, fault CloseCode, send []byte, want ...string) {
		cases = append(cases, conformanceCase{name: name, send: send, want: want, fault: fault})
	}
	closes := func(name, answer string, send []byte, want ...string) {
		cases = append(cases, conformanceCase{name: name, send: send, want: want, close: answer})
	}

	// 1: framing
	for i, size := range []int{0, 125, 126, 127, 128, 65535, 65536} {
		s := strings.Repeat("*", size)
		good(fmt.Sprintf("1.1.%d text of %d", i+1, size), masked(text, s), "text:"+s)
		s = strings.Repeat("\xfe", size)
		good(fmt.Sprintf("1.2.%d binary of %d", i+1, size), masked(bin, s), "binary:"+s)
	}

	// 2: pings and pongs
	var tenPings []byte
	var tenPongs []string
	for i := range 10 {
		tenPings = append(tenPings, masked(ping, fmt.Sprint("payload-", i))...)
		tenPongs = append(tenPongs, fmt.Sprint("pong:payload-", i))
	}
	long := strings.Repeat("\xfe", 125)
	good("2.1 empty ping", masked(ping, ""), "pong:")
	good("2.2 ping", masked(ping, "Hello, world!"), "pong:Hello, world!")
	good("2.3 binary ping", masked(ping, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), "pong:\x00\xff\xfe\xfd\xfc\xfb\x00\xff")
	good("2.4 ping of 125", masked(ping, long), "pong:"+long)
	bad("2.5 ping of 126", 1002, masked(ping, long+"\xfe"))
	good("2.7 pong nobody asked for", masked(pong, ""))
	good("2.8 pong nobody asked for, with a payload", masked(pong, "unsolicited"))
	good("2.9 pong, then ping", frames(masked(pong, "unsolicited"), masked(ping, "ping")), "pong:ping")
	good("2.10 ten pings", tenPings, tenPongs...)

	// 3 and 4: reserved bits and opcodes
	hello := masked(text, "Hello")
	for rsv := byte(1); rsv < 8; rsv++ {
		for i, b0 := range []byte{text, bin, ping, pong, closeBit} {
			if w.deflates() && rsv<<4 == rsv1 && i < 2 { // not even an empty message is compressed to nothing
				bad(fmt.Sprintf("3.%d.%d RSV %03b", rsv, i, rsv), 1007, frames(hello, masked(b0|rsv1, ""), masked(ping, "")), "text:Hello")
				continue
			}
			bad(fmt.Sprintf("3.%d.%d RSV %03b", rsv, i, rsv), 1002, frames(hello, masked(b0|rsv<<4, ""), masked(ping, "")), "text:Hello")
		}
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		bad(fmt.Sprintf("4.%d opcode %d", op/8+1, op), 1002, frames(hello, masked(finBit|op, ""), masked(ping, "")), "text:Hello")
		bad(fmt.Sprintf("4.%d opcode %d with a payload", op/8+1, op), 1002, frames(hello, masked(finBit|op, "payload"), masked(ping, "")), "text:Hello")
	}

	// 5: fragments
	two := fragments("fragment1fragment2", 9)
	first, last := masked(begin, "fragment1"), masked(contin, "fragment2")
	bad("5.1 fragmented ping", 1002, frames(masked(ping&^finBit, "a"), masked(contin, "b")))
	bad("5.2 fragmented pong", 1002, frames(masked(pong&^finBit, "a"), masked(contin, "b")))
	good("5.3 two fragments", two, "text:fragment1fragment2")
	good("5.6 a ping between", frames(first, masked(ping, "ping"), last), "pong:ping", "text:fragment1fragment2")
	bad("5.9 continuation of nothing", 1002, frames(masked(contin, "x"), hello))
	bad("5.10 continuation of nothing after a message", 1002, frames(hello, masked(contin, "x"), hello), "text:Hello")
	bad("5.12 first continuation of nothing", 1002, frames(masked(contBegin, "x"), hello))
	bad("5.15 a continuation after the last", 1002, frames(two, masked(contBegin, "x"), hello), "text:fragment1fragment2")
	bad("5.16 continuation, then text, twice", 1002, frames(masked(contBegin, "a"), hello, masked(contBegin, "b"), hello))
	bad("5.18 text in a fragmented text", 1002, frames(first, masked(text, "fragment2")))
	good("5.19 five fragments with pings", frames(masked(begin, "f1"), masked(contBegin, "f2"), masked(ping, "p1"), masked(contBegin, "f3"),
		masked(contBegin, "f4"), masked(ping, "p2"), masked(contin, "f5")), "pong:p1", "pong:p2", "text:f1f2f3f4f5")

	// 6: UTF-8
	good("6.1.1 empty text", masked(text, ""), "text:")
	good("6.1.2 three empty fragments", frames(masked(begin, ""), masked(contBegin, ""), masked(contin, "")), "text:")
	good("6.1.3 one of three is not empty", frames(masked(begin, ""), masked(contBegin, "middle"), masked(contin, "")), "text:middle")
	for _, s := range []string{
		"Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", // 6.2, 6.5
		"\x00", "\u0080", "\u0800", "\U00010000", // 6.7
		"\x7f", "\u07ff", "\uffff", "\U0010ffff", // 6.9
		"\ud7ff", "\ue000", "\ufffd", // 6.11
		"\ufffe", "\U0001fffe\U0001ffff", "\U0010fffe", // 6.22
	} {
		good(fmt.Sprintf("6.2 %+q", s), masked(text, s), "text:"+s)
		good(fmt.Sprintf("6.2 %+q in two", s), fragments(s, len(s)/2+1), "text:"+s)
		good(fmt.Sprintf("6.2 %+q bytewise", s), fragments(s, 1), "text:"+s)
	}
	for _, s := range []string{
		"κόσμε\xed\xa0\x80edited", "\xce\xba\xe1\xbd", // 6.3, 6.6
		"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xf4\x90\x80\x80", // 6.8, 6.10, 6.11
		"\x80", "\xbf", "\x80\xbf\x80\xbf", // 6.12
		"\xc0 \xc1 \xdf ", "\xe0 \xef ", "\xf0 \xf7 ", // 6.13
		"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xdf", "\xef\xbf", "\xf7\xbf\xbf", // 6.14
		"\xfe", "\xff", "\xfe\xfe\xff\xff", // 6.16
		"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xc0\x80", "\xe0\x80\x80", // 6.17 to 6.19
		"\xed\xa0\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf", // 6.20, 6.21
	} {
		bad(fmt.Sprintf("6.3 %+q", s), 1007, frames(hello, masked(text, s)), "text:Hello")
		bad(fmt.Sprintf("6.3 %+q in the middle", s), 1007, masked(text, "a"+s+"b"))
		bad(fmt.Sprintf("6.3 %+q bytewise", s), 1007, fragments(s, 1))
	}
	bad("6.4.1 fail fast between frames", 1007, frames(masked(begin, "κόσμε"), masked(contBegin, "\xf4\x90\x80\x80")))
	bad("6.4.3 fail fast in a frame", 1007, append(head(text, 7, 100), masked(text, "κόσμε\xf4\x90")[6:]...))

	// 7: the closing handshake
	closes("7.1.1 a message, then close", code(1000, ""), frames(hello, bye), "text:Hello")
	closes("7.1.2 two closes", code(1000, ""), frames(bye, masked(closeBit, code(1001, ""))))
	closes("7.1.3 close, then ping", code(1000, ""), frames(bye, masked(ping, "")))
	closes("7.1.4 close, then a message", code(1000, ""), frames(bye, hello))
	closes("7.1.5 close in a fragmented message", code(1000, ""), frames(first, bye, last))
	closes("7.1.6 a large message, then close, then ping", code(1000, ""), frames(masked(text, strings.Repeat("*", 256<<10)), bye, masked(ping, "")),
		"text:"+strings.Repeat("*", 256<<10))
	closes("7.3.1 close without a payload", "", masked(closeBit, ""))
	bad("7.3.2 close with one byte", 1002, masked(closeBit, "\x03"))
	closes("7.3.4 close with a reason", code(1000, ""), masked(closeBit, code(1000, "Hello World!")))
	closes("7.3.5 close with a reason of 123", code(1000, ""), masked(closeBit, code(1000, strings.Repeat("*", 123))))
	bad("7.3.6 close with a reason of 124", 1002, masked(closeBit, code(1000, strings.Repeat("*", 124))))
	bad("7.5.1 close with a reason that is not UTF-8", 1007, masked(closeBit, code(1000, "κόσμε\xed\xa0\x80edited")))
	for _, c := range []CloseCode{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		closes(fmt.Sprintf("7.7 close with %d", c), code(c, ""), masked(closeBit, code(c, "")))
	}
	for _, c := range []CloseCode{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		bad(fmt.Sprintf("7.9 close with %d", c), 1002, masked(closeBit, code(c, "")))
		bad(fmt.Sprintf("7.9 close with %d and a reason", c), 1002, masked(closeBit, code(c, "reason")))
	}

	// 9: the limit
	bad("9 a message over the limit", 1009, head(text, 64, 1<<20+1))
	bad("9 fragments over the limit", 1009, frames(masked(begin, strings.Repeat("*", 1<<20)), masked(contin, "*")))
	if w.deflates() {
		compressedCases(good, bad)
	}
	return cases
}

// TestConformance runs each case over a socket, in one write and, where it is short, byte by byte.
func TestConformance(t *testing.T) { onAllWirings(t, testConformance) }

func testConformance(t *testing.T, w wiring) {
	n := w.newNode(t, Config{MessageBytes: 1 << 20})
	cases := conformanceCases(w)
	if len(cases) < 250 {
		t.Errorf("there are %d cases only", len(cases))
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			tc.run(t, n.connect(Birth{Handler: Echo}), len(tc.send))
			if len(tc.send) < 100 {
				tc.run(t, n.connect(Birth{Handler: Echo}), 1)
			}
		})
	}
}

func (tc *conformanceCase) run(t *testing.T, c *client, chop int) {
	t.Helper()
	c.t = t
	for b := tc.send; len(b) > 0; b = b[min(chop, len(b)):] {
		if _, err := c.Write(b[:min(chop, len(b))]); err != nil {
			break // it may have seen enough
		}
	}
	for i := 0; i < len(tc.want); i++ {
		b0, payload, err := c.next()
		for c.actor.direct == 0 && b0 == pong && tc.want[i] != "pong:"+payload && i+1 < len(tc.want) {
			i++ // it answers the newest ping (RFC 6455 section 5.5.3)
		}
		want := tc.want[i]
		if got := map[byte]string{text: "text:", bin: "binary:", pong: "pong:"}[b0] + payload; err != nil || got != want {
			t.Fatalf("got %#x %.100q, %v; want %.100q", b0, payload, err, want)
		}
	}
	if tc.fault == 0 {
		c.want(closeBit, tc.close)
		c.wantEOF()
	} else if reason := c.wantClose(tc.fault); reason == "" || !utf8.ValidString(reason) {
		t.Errorf("the reason is %q", reason)
	}
}
