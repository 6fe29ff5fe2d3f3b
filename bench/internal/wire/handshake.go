package wire

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Via is the place in the request where the token travels.
type Via string

// The places for a token. ViaNone sends none.
const (
	ViaHeader      Via = "header"      // Authorization: Bearer TOKEN
	ViaQuery       Via = "query"       // ?token=TOKEN
	ViaCookie      Via = "cookie"      // Cookie: token=TOKEN
	ViaSubprotocol Via = "subprotocol" // Sec-WebSocket-Protocol: bearer.TOKEN
	ViaNone        Via = "none"
)

// CookieName, QueryName, Scheme and ProtocolPrefix are the names under which a token travels.
const (
	CookieName     = "token"
	QueryName      = "token"
	Scheme         = "Bearer"
	ProtocolPrefix = "bearer."
)

// ParseVia checks a name from a command line.
func ParseVia(s string) (Via, error) {
	switch v := Via(s); v {
	case ViaHeader, ViaQuery, ViaCookie, ViaSubprotocol, ViaNone:
		return v, nil
	}
	return "", fmt.Errorf("%q is no place for a token; want header, query, cookie, subprotocol or none", s)
}

// Request is a client's opening handshake.
type Request struct {
	Host  string // also the Origin, as a page of the same site sends it
	Path  string
	Via   Via
	Token string
	Key   string // from [Key]
	// Deflate offers permessage-deflate (RFC 7692), as browsers do.
	Deflate bool
}

// Key returns the Sec-WebSocket-Key of connection n. Keys differ, but the same n has the same key, so that the answer can
// be checked without keeping it.
func Key(n int) string {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n)*0x9E3779B97F4A7C15+1)
	return base64.StdEncoding.EncodeToString(b[:])
}

// AppendRequest appends the request, about as long as a browser's.
func AppendRequest(dst []byte, r Request) []byte {
	path := r.Path
	if r.Via == ViaQuery {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		path += separator + QueryName + "=" + url.QueryEscape(r.Token)
	}
	dst = fmt.Appendf(dst, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nOrigin: http://%s\r\nUser-Agent: fairlead-bench\r\n",
		path, r.Host, r.Key, r.Host)
	if r.Deflate {
		dst = append(dst, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"...)
	}
	switch r.Via {
	case ViaHeader:
		dst = fmt.Appendf(dst, "Authorization: %s %s\r\n", Scheme, r.Token)
	case ViaCookie:
		dst = fmt.Appendf(dst, "Cookie: %s=%s\r\n", CookieName, r.Token)
	case ViaSubprotocol:
		dst = fmt.Appendf(dst, "Sec-WebSocket-Protocol: chat, %s%s\r\n", ProtocolPrefix, r.Token)
	case ViaQuery, ViaNone:
	}
	return append(dst, "\r\n"...)
}

// Errors of [ParseResponse].
var (
	ErrResponse = errors.New("malformed response")
	ErrAccept   = errors.New("wrong Sec-WebSocket-Accept")
)

// MaxHead is the longest response head that [ParseResponse] waits for.
const MaxHead = 16 << 10

// Response is the head of a server's answer.
type Response struct {
	Status int
	Head   int // bytes of the head with its empty line; 0: it is not complete yet
}

// ParseResponse reads a response head from the start of b. For a 101 it checks the answer to key (RFC 6455, section 4.1).
// The errors wrap [ErrResponse] or [ErrAccept].
func ParseResponse(b []byte, key string) (Response, error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > MaxHead {
			return Response{}, fmt.Errorf("%w: no end of its head in %d bytes", ErrResponse, len(b))
		}
		return Response{}, nil
	}
	head := b[:end+2]
	line, fields, _ := bytes.Cut(head, []byte("\r\n"))
	version, rest, _ := bytes.Cut(line, []byte(" "))
	code, _, _ := bytes.Cut(rest, []byte(" "))
	status, err := strconv.Atoi(string(code))
	if string(version) != "HTTP/1.1" || err != nil || len(code) != 3 {
		return Response{}, fmt.Errorf("%w: status line %.60q", ErrResponse, line)
	}
	if status == 101 && !accepts(fields, key) {
		return Response{}, ErrAccept
	}
	return Response{Status: status, Head: end + 4}, nil
}

// accepts looks for the field that proves that the server has read key.
func accepts(fields []byte, key string) bool {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	var want [28]byte
	base64.StdEncoding.Encode(want[:], sum[:])
	for line := range bytes.SplitSeq(fields, []byte("\r\n")) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if ok && bytes.EqualFold(name, []byte("Sec-WebSocket-Accept")) {
			return bytes.Equal(bytes.TrimSpace(value), want[:])
		}
	}
	return false
}
