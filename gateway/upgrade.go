package gateway

import (
	"fmt"
	"io"

	"github.com/gobwas/ws"
)

// upgrader makes the response that turns a connection into a WebSocket, by [ws.Upgrader]. It belongs to one goroutine; it
// must not be copied after newUpgrader.
//
// The Upgrader is not given the head as it was sent but what the parser found in it, in one canonical form. So a client may
// write Upgrade and Connection as the lists that RFC 9110 makes them, in several lines too, which the Upgrader would
// refuse; the cost, under 1 us (BenchmarkUpgrader), does not grow with the head; and no credential ever gets into the
// buffers that package ws pools.
type upgrader struct {
	ws       ws.Upgrader
	request  []byte // scratch
	unread   []byte // what is left of request for the Upgrader to read
	response []byte // scratch
	protocol string
}

func newUpgrader() *upgrader {
	u := &upgrader{request: make([]byte, 0, 256), response: make([]byte, 0, 256)}
	u.ws = ws.Upgrader{
		ReadBufferSize:  512,
		WriteBufferSize: 512,
		ProtocolCustom:  func([]byte) (string, bool) { return u.protocol, true },
	}
	return u
}

// respond returns the response to a handshake with key, which was checked, that selects protocol and agrees on extension,
// or on none where they are "". The slice dies with the next call.
func (u *upgrader) respond(key []byte, protocol, extension string) ([]byte, error) {
	u.request = append(u.request[:0], "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-Websocket-Version: 13\r\nSec-Websocket-Key: "...)
	u.request = append(u.request, key...)
	if protocol != "" {
		u.request = append(u.request, "\r\nSec-Websocket-Protocol: "...)
		u.request = append(u.request, protocol...)
	}
	u.request = append(u.request, "\r\n\r\n"...)
	u.unread, u.response, u.protocol = u.request, u.response[:0], protocol
	if _, err := u.ws.Upgrade(u); err != nil {
		return nil, fmt.Errorf("upgrade: %w", err) // the Upgrader's own refusal, of a request that is ours
	}
	if extension != "" {
		u.response = append(u.response[:len(u.response)-len("\r\n")], "Sec-WebSocket-Extensions: "...)
		u.response = append(u.response, extension...)
		u.response = append(u.response, "\r\n\r\n"...)
	}
	return u.response, nil
}

// Read gives the Upgrader the request.
func (u *upgrader) Read(p []byte) (int, error) {
	if len(u.unread) == 0 {
		return 0, io.EOF
	}
	n := copy(p, u.unread)
	u.unread = u.unread[n:]
	return n, nil
}

// Write takes the Upgrader's response.
func (u *upgrader) Write(p []byte) (int, error) {
	u.response = append(u.response, p...)
	return len(p), nil
}
