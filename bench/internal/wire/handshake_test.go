package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func TestParseVia(t *testing.T) {
	for _, give := range []string{"header", "query", "cookie", "subprotocol", "none"} {
		if v, err := ParseVia(give); err != nil || string(v) != give {
			t.Errorf("ParseVia(%q) = %q, %v", give, v, err)
		}
	}
	for _, give := range []string{"", "Header", "body"} {
		if _, err := ParseVia(give); err == nil {
			t.Errorf("ParseVia(%q) has no error", give)
		}
	}
}

// TestAppendRequest reads the request as net/http does and finds the token where it should be.
func TestAppendRequest(t *testing.T) {
	const token = "aa.b+b.c_c"
	tests := []struct {
		via  Via
		path string
		got  func(*http.Request) string
		want string
	}{
		{ViaHeader, "/ws/a", func(r *http.Request) string { return r.Header.Get("Authorization") }, "Bearer " + token},
		{ViaQuery, "/ws/a", func(r *http.Request) string { return r.URL.Query().Get("token") }, token},
		{ViaQuery, "/ws/a?x=1", func(r *http.Request) string { return r.URL.Query().Get("x") + r.URL.Query().Get("token") }, "1" + token},
		{ViaCookie, "/ws/a", func(r *http.Request) string {
			c, err := r.Cookie("token")
			if err != nil {
				return err.Error()
			}
			return c.Value
		}, token},
		{ViaSubprotocol, "/ws/a", func(r *http.Request) string { return r.Header.Get("Sec-WebSocket-Protocol") }, "chat, bearer." + token},
		{ViaNone, "/ws/a", func(r *http.Request) string { return r.Header.Get("Authorization") + r.URL.RawQuery }, ""},
	}
	for _, tt := range tests {
		t.Run(string(tt.via)+tt.path, func(t *testing.T) {
			raw := AppendRequest(nil, Request{Host: "127.0.0.1:80", Path: tt.path, Via: tt.via, Token: token, Key: Key(7)})
			r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
			if err != nil {
				t.Fatalf("net/http cannot read %q: %v", raw, err)
			}
			if got := tt.got(r); got != tt.want {
				t.Errorf("the token arrives as %q, want %q", got, tt.want)
			}
			if r.URL.Path != "/ws/a" || r.Host != "127.0.0.1:80" || r.Header.Get("Origin") != "http://127.0.0.1:80" {
				t.Errorf("path %q, host %q, origin %q", r.URL.Path, r.Host, r.Header.Get("Origin"))
			}
		})
	}
}

// TestDeflate: compression is offered when that is wanted, and not else.
func TestDeflate(t *testing.T) {
	for _, deflate := range []bool{false, true} {
		raw := AppendRequest(nil, Request{Host: "h", Path: "/", Via: ViaNone, Key: Key(7), Deflate: deflate})
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Header.Get("Sec-WebSocket-Extensions"); strings.HasPrefix(got, "permessage-deflate") != deflate || deflate == (got == "") {
			t.Errorf("deflate %v: %q", deflate, got)
		}
	}
}

// TestHandshake holds request and response against another implementation of the protocol.
func TestHandshake(t *testing.T) {
	for n := range 3 {
		client, server := net.Pipe()
		failed := make(chan error, 1)
		go func() {
			defer server.Close()
			_, err := ws.Upgrade(server)
			failed <- err
		}()
		if _, err := client.Write(AppendRequest(nil, Request{Host: "h", Path: "/", Via: ViaNone, Key: Key(n)})); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(client)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-failed; err != nil {
			t.Fatalf("gobwas/ws refuses the request: %v", err)
		}
		if r, err := ParseResponse(answer, Key(n)); err != nil || r.Status != 101 || r.Head != len(answer) {
			t.Errorf("ParseResponse(%q) = %+v, %v", answer, r, err)
		}
		if _, err := ParseResponse(answer, Key(n+1)); !errors.Is(err, ErrAccept) {
			t.Errorf("the answer to another key: %v, want ErrAccept", err)
		}
	}
}

func TestParseResponse(t *testing.T) {
	accept := "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept:  s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \r\n\r\n"
	tests := []struct {
		name string
		give string
		want Response
		err  error
	}{
		{"nothing yet", "", Response{}, nil},
		{"half a head", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n", Response{}, nil},
		{"a refusal with a body", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno", Response{401, 48}, nil},
		{"no reason phrase", "HTTP/1.1 503 \r\n\r\n", Response{503, 17}, nil},
		{"RFC 6455, 1.3", accept, Response{101, len(accept)}, nil},
		{"no accept field", "HTTP/1.1 101 x\r\n\r\n", Response{}, ErrAccept},
		{"an old version", "HTTP/1.0 200 OK\r\n\r\n", Response{}, ErrResponse},
		{"no number", "HTTP/1.1 abc OK\r\n\r\n", Response{}, ErrResponse},
		{"a long number", "HTTP/1.1 1010 OK\r\n\r\n", Response{}, ErrResponse},
		{"another protocol", "SSH-2.0-x\r\n\r\n", Response{}, ErrResponse},
		{"a head without end", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", MaxHead), Response{}, ErrResponse},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseResponse([]byte(tt.give), "dGhlIHNhbXBsZSBub25jZQ==")
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %+v, %v; want %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func FuzzParseResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x00"))
	f.Add([]byte("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n"))
	f.Add([]byte("\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 "))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseResponse(b, Key(1))
		switch {
		case err != nil && r != Response{}:
			t.Errorf("an error and %+v", r)
		case r.Head > len(b):
			t.Errorf("head of %d bytes in %d", r.Head, len(b))
		case r.Head > 0 && !bytes.HasSuffix(b[:r.Head], []byte("\r\n\r\n")):
			t.Errorf("the head %q has no end", b[:r.Head])
		case r.Head > 0 && (r.Status < 0 || r.Status > 999):
			t.Errorf("status %d", r.Status)
		}
	})
}
