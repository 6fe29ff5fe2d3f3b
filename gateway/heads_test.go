package gateway

import (
	"fmt"
	"strings"
)

// headCase is a request's head and what becomes of it. TestParseHead judges them, FuzzHead and FuzzHeadReader begin with them.
type headCase struct {
	name string
	raw  string
	want *reasonError // nil: accepted
}

// lines joins lines to a head, empty line included.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }

const key = "dGhlIHNhbXBsZSBub25jZQ=="

// withLines is the shortest head of a handshake, with more lines.
func withLines(more ...string) string {
	return lines(append([]string{
		"GET /ws/app_1234 HTTP/1.1", "Host: localhost:8000", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: " + key, "Sec-WebSocket-Version: 13",
	}, more...)...)
}

// requestLine is a head with another first line.
func requestLine(l string) string { return lines(l, "Host: localhost") }

// browserHead is what Chrome sends to a page's own server behind a proxy, with a session and a token.
var browserHead = lines(
	"GET /ws/app_1234?token=0123456789abcdef0123456789abcdef01234567 HTTP/1.1",
	"Host: app.example.com",
	"Connection: Upgrade",
	"Pragma: no-cache",
	"Cache-Control: no-cache",
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
	"Upgrade: websocket",
	"Origin: https://app.example.com",
	"Sec-WebSocket-Version: 13",
	"Accept-Encoding: gzip, deflate, br, zstd",
	"Accept-Language: en-GB,en;q=0.9,de;q=0.8",
	"Cookie: csrftoken=Z2bq8uJ5m0Yw1s7kq3v6x9C0E4H8L2P5; sessionid=iahvj7aob5rywsjzabnyk84seeyaqyb3",
	"Sec-WebSocket-Key: "+key,
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
)

func manyFields(n int) string {
	l := []string{"GET / HTTP/1.1", "Host: h"}
	for i := range n - 1 {
		l = append(l, fmt.Sprintf("X-%d: y", i))
	}
	return lines(l...)
}

func headCases() []headCase {
	return []headCase{
		{"shortest", withLines(), nil},
		{"browser", browserHead, nil},
		{"root", requestLine("GET / HTTP/1.1"), nil},
		{"empty query", requestLine("GET /? HTTP/1.1"), nil},
		{"two question marks", requestLine("GET /a?b?c HTTP/1.1"), nil},
		{"escaped path", requestLine("GET /caf%C3%A9/%7e HTTP/1.1"), nil},
		{"bad escape in the query", requestLine("GET /a?b=%zz HTTP/1.1"), nil},
		{"two slashes", requestLine("GET //a//b HTTP/1.1"), nil},
		{"characters that browsers leave", requestLine(`GET /a[b]|"c"?d={e}^\ HTTP/1.1`), nil},
		{"names in other cases", lines("GET / HTTP/1.1", "hOsT: h", "ORIGIN: null", "cookie: a=b"), nil},
		{"spaces and tabs around values", lines("GET / HTTP/1.1", "Host:\t h \t", "X:y", "Z: "), nil},
		{"a tab in a value", withLines("X: a\tb"), nil},
		{"obs-text in a value", withLines("X: caf\xe9"), nil},
		{"colons in a value", withLines("X: a:b: c"), nil},
		{"a field that may come twice", withLines("X: a", "X: b"), nil},
		{"an empty origin", withLines("Origin:"), nil},
		{"Content-Length 0", withLines("Content-Length: 0"), nil},
		{"Content-Length 0 twice", withLines("Content-Length: 0", "Content-Length: 0"), nil},
		{"Trailer without a body", withLines("Trailer: X"), nil},
		{"Pragma without Cache-Control", withLines("Pragma: no-cache"), nil},
		{"subprotocols", withLines("Sec-WebSocket-Protocol: chat.v1, bearer.abc-_.def,, ", "Sec-WebSocket-Protocol:x"), nil},
		{"as many fields as may be", manyFields(maxFields), nil},
		{"host with an escape", lines("GET / HTTP/1.1", "Host: a%2db"), nil},
		{"IPv6 host", lines("GET / HTTP/1.1", "Host: [2001:db8::1]"), nil},
		{"IPv6 host and port", lines("GET / HTTP/1.1", "Host: [::1]:8000"), nil},

		{"empty line first", "\r\n" + withLines(), errRequestLine},
		{"nothing but an empty line", "\r\n", errRequestLine},
		{"HTTP/0.9", requestLine("GET /"), errRequestLine},
		{"no target", requestLine("GET  HTTP/1.1"), errRequestLine},
		{"no method", requestLine(" / HTTP/1.1"), errRequestLine},
		{"two spaces", requestLine("GET  / HTTP/1.1"), errRequestLine},
		{"space at the end", requestLine("GET / HTTP/1.1 "), errRequestLine},
		{"tab", requestLine("GET\t/ HTTP/1.1"), errRequestLine},
		{"space in the target", requestLine("GET /a b HTTP/1.1"), errRequestLine},
		{"method no token", requestLine("G(T / HTTP/1.1"), errRequestLine},
		{"version in lower case", requestLine("GET / http/1.1"), errRequestLine},
		{"version too long", requestLine("GET / HTTP/1.10"), errRequestLine},
		{"version without a dot", requestLine("GET / HTTP/1x1"), errRequestLine},
		{"no version", requestLine("GET / "), errRequestLine},
		{"HTTP/1.0", requestLine("GET / HTTP/1.0"), errHTTPVersion},
		{"HTTP/1.2", requestLine("GET / HTTP/1.2"), errHTTPVersion},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n", errHTTPVersion},
		{"POST", requestLine("POST / HTTP/1.1"), errMethod},
		{"POST with a body", lines("POST / HTTP/1.1", "Host: h", "Content-Length: 3"), errMethod},
		{"OPTIONS *", requestLine("OPTIONS * HTTP/1.1"), errMethod},
		{"CONNECT", requestLine("CONNECT h:1 HTTP/1.1"), errMethod},
		{"get in lower case", requestLine("get / HTTP/1.1"), errMethod},
		{"absolute form", requestLine("GET http://h/ HTTP/1.1"), errTarget},
		{"asterisk form", requestLine("GET * HTTP/1.1"), errTarget},
		{"fragment", requestLine("GET /a#b HTTP/1.1"), errTargetByte},
		{"control byte in the target", requestLine("GET /a\x01 HTTP/1.1"), errTargetByte},
		{"NUL in the target", requestLine("GET /a\x00 HTTP/1.1"), errTargetByte},
		{"DEL in the query", requestLine("GET /a?\x7f HTTP/1.1"), errTargetByte},
		{"UTF-8 in the target", requestLine("GET /caf\u00e9 HTTP/1.1"), errTargetByte},
		{"CR in the target", requestLine("GET /a\rb HTTP/1.1"), errTargetByte},
		{"half an escape", requestLine("GET /a%2 HTTP/1.1"), errPathEscape},
		{"no escape", requestLine("GET /a%zz HTTP/1.1"), errPathEscape},
		{"percent at the end", requestLine("GET /% HTTP/1.1"), errPathEscape},

		{"bare LF behind the request line", "GET / HTTP/1.1\nHost: h\r\n\r\n", errBareLF},
		{"bare LF behind a field", "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", errBareLF},
		{"bare LF in the end", "GET / HTTP/1.1\r\nHost: h\r\n\n", errBareLF},
		{"LF alone", "\n", errRequestLine},
		{"bare CR in a value", withLines("X: a\rb"), errFieldValue},
		{"CR twice", withLines("X: a\r"), errFieldValue},
		{"NUL in a value", withLines("X: a\x00b"), errFieldValue},
		{"DEL in a value", withLines("X: a\x7fb"), errFieldValue},
		{"escape in a value", withLines("X: \x1b[31m"), errFieldValue},
		{"folded", withLines("X: a", " b"), errFolded},
		{"folded with a tab", withLines("X: a", "\tb: c"), errFolded},
		{"folded first", lines("GET / HTTP/1.1", " Host: h"), errFolded},
		{"space before the colon", withLines("Authorization : Token x"), errSpaceBeforeColon},
		{"tab before the colon", withLines("X\t: y"), errSpaceBeforeColon},
		{"space in the name", withLines("X Y: z"), errSpaceBeforeColon},
		{"no colon", withLines("X"), errFieldName},
		{"no name", withLines(": x"), errFieldName},
		{"name no token", withLines("X(Y): z"), errFieldName},
		{"name not ASCII", withLines("Caf\u00e9: z"), errFieldName},
		{"NUL in a name", withLines("X\x00: z"), errFieldName},
		{"subprotocol no token", withLines("Sec-WebSocket-Protocol: a b"), errSubprotocol},
		{"subprotocol with a slash", withLines("Sec-WebSocket-Protocol: a/b"), errSubprotocol},
		{"too many fields", manyFields(maxFields + 1), errTooManyFields},

		{"no host", lines("GET / HTTP/1.1", "X: y"), errNoHost},
		{"no fields", "GET / HTTP/1.1\r\n\r\n", errNoHost},
		{"empty host", lines("GET / HTTP/1.1", "Host:"), errHost},
		{"port only", lines("GET / HTTP/1.1", "Host: :80"), errHost},
		{"no port behind the colon", lines("GET / HTTP/1.1", "Host: h:"), errHost},
		{"port no number", lines("GET / HTTP/1.1", "Host: h:8o"), errHost},
		{"port too big", lines("GET / HTTP/1.1", "Host: h:65536"), errHost},
		{"port far too big", lines("GET / HTTP/1.1", "Host: h:000080"), errHost},
		{"host with a user", lines("GET / HTTP/1.1", "Host: a@h"), errHost},
		{"host with a path", lines("GET / HTTP/1.1", "Host: h/a"), errHost},
		{"host with a space", lines("GET / HTTP/1.1", "Host: a b"), errHost},
		{"two hosts in one", lines("GET / HTTP/1.1", "Host: a:1:2"), errHost},
		{"host with a bad escape", lines("GET / HTTP/1.1", "Host: a%2"), errHost},
		{"IPv6 without brackets", lines("GET / HTTP/1.1", "Host: ::1"), errHost},
		{"IPv6 half open", lines("GET / HTTP/1.1", "Host: [::1"), errHost},
		{"IPv6 half open with a port", lines("GET / HTTP/1.1", "Host: [::1:80"), errHost},
		{"IPv4 in brackets", lines("GET / HTTP/1.1", "Host: [1.2.3.4]"), errHost},
		{"IPv6 with a zone", lines("GET / HTTP/1.1", "Host: [fe80::1%25eth0]"), errHost},
		{"text behind brackets", lines("GET / HTTP/1.1", "Host: [::1]x"), errHost},

		{"two hosts", withLines("host: localhost"), errTwice},
		{"two origins", withLines("Origin: a", "Origin: a"), errTwice},
		{"two authorizations", withLines("Authorization: Token a", "AUTHORIZATION: Token b"), errTwice},
		{"two cookies", withLines("Cookie: a=b", "Cookie: c=d"), errTwice},
		{"two keys", withLines("Sec-WebSocket-Key: " + key), errTwice},
		{"two versions", withLines("Sec-WebSocket-Version: 13"), errTwice},

		{"a body", withLines("Content-Length: 5"), errBody},
		{"Content-Length 00", withLines("Content-Length: 00"), errBody},
		{"Content-Length +0", withLines("Content-Length: +0"), errBody},
		{"empty Content-Length", withLines("Content-Length:"), errBody},
		{"Content-Length list", withLines("Content-Length: 0, 5"), errBody},
		{"chunked", withLines("Transfer-Encoding: chunked"), errBody},
		{"identity", withLines("transfer-encoding: identity"), errBody},
	}
}
