package gateway

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/authn"
)

// readClose reads the answer to a handshake: an upgrade and a close frame, and then the end.
func readClose(t testing.TB, conn net.Conn) (header http.Header, code ws.StatusCode, text string) {
	t.Helper()
	br := bufio.NewReader(conn)
	header = readUpgrade(t, br)
	frame, err := readFrame(br)
	if err != nil || frame.Header.OpCode != ws.OpClose || !frame.Header.Fin || frame.Header.Masked {
		t.Fatalf("no close frame of a server: %+v, %v", frame.Header, err)
	}
	code, text = ws.ParseCloseFrameData(frame.Payload)
	if _, err := conn.Write(ws.MustCompileFrame(ws.MaskFrame(ws.NewCloseFrame(frame.Payload[:2])))); err != nil {
		t.Errorf("the answer to the close frame: %v", err)
	}
	if rest, err := io.ReadAll(br); err != nil || len(rest) > 0 {
		t.Errorf("behind the close frame came %q, %v, want the end", rest, err)
	}
	conn.Close()
	return header, code, text
}

// readUpgrade reads a 101.
func readUpgrade(t testing.TB, br *bufio.Reader) http.Header {
	t.Helper()
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("no upgrade: status %d", resp.StatusCode)
	}
	return resp.Header
}

// readFrame reads a frame of a server's, which is a short one.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	switch {
	case err != nil:
		return ws.Frame{}, err
	case h.Length > 125:
		return ws.Frame{}, fmt.Errorf("a frame of %d bytes, want a short one", h.Length)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

// A route with RejectClose tells a browser by a code what it else tells by a status, and counts and writes down the same.
func TestServeRejectsByClose(t *testing.T) {
	route, strict := memberRoute(t), memberRoute(t)
	route.RejectClose, strict.RejectClose = true, true
	origins, err := authn.NewOriginPolicy([]string{"https://app.example.com"}, true)
	if err != nil {
		t.Fatal(err)
	}
	strict.Path, strict.Origins = "/strict/{group}", origins
	m := memory(t)
	s := serve(t, Config{Routes: []Route{route, strict}, Journal: m, Epoch: testEpoch, Compression: true}, nil)
	for _, c := range []struct {
		raw    string
		code   ws.StatusCode
		reason reason
	}{
		{handshakeTo("/ws/app_1234"), 4401, reasonNoCredential},
		{handshakeTo("/ws/app_1234?token=guess"), 4401, reasonUnknownToken},
		{handshakeTo("/ws/app_1234?token=expired"), 4401, reasonExpired},
		{handshakeTo("/ws/app_9?token=alice"), 4403, reasonForbidden},
		{handshakeTo("/ws/app_text?token=alice"), 4403, reasonBadParameter},
		{handshakeTo("/strict/app_1234?token=alice", "Origin: https://evil.example.com"), 4403, reasonOrigin},
		{handshakeTo("/ws/app_1234?token=down"), 4503, reasonVerifierUnavailable},
		{handshakeTo("/ws/app_down?token=alice"), 4503, reasonAuthorizerUnavailable},
		// Data right behind the request does not turn the answer into a reset.
		{handshakeTo("/ws/app_1234") + string(bytes.Repeat([]byte{0x81, 0x80, 0, 0, 0, 0}, 1000)), 4401, reasonNoCredential},
	} {
		before := s.count(c.reason)
		conn := s.dial(t)
		if _, err := io.WriteString(conn, c.raw); err != nil {
			t.Fatal(err)
		}
		header, code, text := readClose(t, conn)
		if code != c.code || text != answers[c.reason].text {
			t.Errorf("%s: close %d %q, want %d %q", c.reason, code, text, c.code, answers[c.reason].text)
		}
		if header.Get("Sec-WebSocket-Accept") == "" || header.Get("Sec-WebSocket-Extensions") != "" {
			t.Errorf("%s: header %v", c.reason, header)
		}
		if s.count(c.reason) != before+1 {
			t.Errorf("%s is counted %d times", c.reason, s.count(c.reason)-before)
		}
	}
	if n := len(s.actors.born()); n != 0 {
		t.Errorf("%d actors were made", n)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	want := `401 no_credential "/ws/{group}" 127.0.0.0/24 x1
401 unknown_token "/ws/{group}" 127.0.0.0/24 x1
401 expired "/ws/{group}" 127.0.0.0/24 x1
403 forbidden "/ws/{group}" 127.0.0.0/24 x1
403 bad_parameter "/ws/{group}" 127.0.0.0/24 x1
403 origin "/strict/{group}" 127.0.0.0/24 x1
503 verifier_unavailable "/ws/{group}" 127.0.0.0/24 x1
503 authorizer_unavailable "/ws/{group}" 127.0.0.0/24 x1
401 no_credential "/ws/{group}" 127.0.0.0/24 x1`
	if got := summary(t, records(t, m)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Over TLS it is no other way.
func TestServeRejectsByCloseOverTLS(t *testing.T) {
	route := memberRoute(t)
	route.RejectClose = true
	s, trusting := serveTLS(t, Config{Routes: []Route{route}})
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.3": nil,
		"TLS 1.2": func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
	} {
		conn := s.dialTLS(t, clientFor(trusting, change))
		if _, err := io.WriteString(conn, handshakeTo("/ws/app_1234?token=guess")); err != nil {
			t.Fatal(err)
		}
		if _, code, _ := readClose(t, conn); code != 4401 {
			t.Errorf("%s: closed with %d, want 4401", name, code)
		}
	}
}

// What is wrong with the request itself, a fault, and whatever comes before the route is known are told over HTTP.
func TestServeRejectsByStatus(t *testing.T) {
	route := memberRoute(t)
	route.RejectClose = true
	s := serve(t, Config{Routes: []Route{route}}, nil)
	for raw, status := range map[string]int{
		lines("GET /ws/app_1234 HTTP/1.1", "Host: h"):           426,
		handshakeTo("/ws/app_1234", "Sec-WebSocket-Key: twice"): 400,
		handshakeTo("/nothing"):                                 404,
		handshakeTo("/ws/app_1234?token=panic"):                 500,
	} {
		if resp, _ := s.ask(t, raw); resp.status != status {
			t.Errorf("status %d, want %d", resp.status, status)
		}
	}
}

// Whatever a system does not take an actor for is a close, too.
func TestServeRejectsByCloseWhatIsFull(t *testing.T) {
	for _, c := range []struct {
		err  error
		code ws.StatusCode
	}{{actor.ErrFull, 4503}, {actor.ErrUserFull, 4429}, {actor.ErrUnavailable, 4503}} {
		s := serve(t, Config{Actors: &fakeActors{err: c.err}, Routes: []Route{{Path: "/", AllowAnonymous: true, RejectClose: true}}}, nil)
		conn := s.dial(t)
		if _, err := io.WriteString(conn, handshakeTo("/")); err != nil {
			t.Fatal(err)
		}
		if _, code, _ := readClose(t, conn); code != c.code {
			t.Errorf("%v: close %d, want %d", c.err, code, c.code)
		}
	}
}

// The answer to a client whose token is among its subprotocols selects the other, and never the token, whatever it is called.
func TestServeRejectsByCloseSelects(t *testing.T) {
	route := memberRoute(t)
	route.RejectClose = true
	s := serve(t, Config{Routes: []Route{route}}, nil)
	for offered, want := range map[string]string{
		"bearer.guess, chat.v1": "chat.v1",
		"chat.v1, bearer.guess": "chat.v1",
		"bearer.guess":          "",
		"Bearer.guess, chat.v2": "",
	} {
		conn := s.dial(t)
		if _, err := io.WriteString(conn, handshakeTo("/ws/app_1234", "Sec-WebSocket-Protocol: "+offered)); err != nil {
			t.Fatal(err)
		}
		if header, _, _ := readClose(t, conn); header.Get("Sec-WebSocket-Protocol") != want {
			t.Errorf("offered %q: selected %q, want %q", offered, header.Get("Sec-WebSocket-Protocol"), want)
		}
	}
}

// A client that is closed and does not leave is cut a second later, and takes no handshake's place meanwhile.
func TestServeRejectsByCloseLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := serve(t, Config{Routes: []Route{{Path: "/", Chain: testChain(t), RejectClose: true}}, Handshakes: 1}, l)
		client, start := l.dial(t), time.Now()
		send(t, client, handshakeTo("/"))
		br := bufio.NewReader(client)
		readUpgrade(t, br)
		if _, err := readFrame(br); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(s.heads)+len(s.slots) != 0 || len(s.lingering) != 1 {
			t.Errorf("%d and %d places taken, %d lingering", len(s.heads), len(s.slots), len(s.lingering))
		}
		if _, err := br.ReadByte(); !errors.Is(err, io.EOF) || time.Since(start) != lingerTime {
			t.Errorf("%v after %v, want the end after %v", err, time.Since(start), lingerTime)
		}
	})
}

func TestAnswersFitCloseFrames(t *testing.T) {
	for r := range numReasons {
		a := &answers[r]
		switch a.status {
		case 401, 403, 429, 503:
			if a.text == "" || len(a.text) > 123 {
				t.Errorf("%s: a text of %d bytes; a close frame has room for 123", r, len(a.text))
			}
		}
	}
}
