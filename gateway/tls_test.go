package gateway

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/actor"
)

// dialTLS connects by TLS, and fails the test if it cannot.
func (s *server) dialTLS(t testing.TB, c *tls.Config) net.Conn {
	t.Helper()
	conn := tls.Client(s.dial(t), c)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn
}

func clientFor(c *tls.Config, change func(*tls.Config)) *tls.Config {
	c = c.Clone()
	c.ServerName = "127.0.0.1"
	if change != nil {
		change(c)
	}
	return c
}

var echoRoute = []Route{{Path: "/ws/{group}", Join: []string{"{group}"}, AllowAnonymous: true, Handler: actor.Echo}}

// A handshake over TLS is one, whichever version of TLS and whatever the client says of HTTP; refusals come over TLS too.
func TestTLS(t *testing.T) {
	s, trusting := serveTLS(t, Config{Routes: echoRoute})
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.3": nil,
		"TLS 1.2": func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		"ALPN":    func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} },
	} {
		conn := s.dialTLS(t, clientFor(trusting, change))
		if _, err := io.WriteString(conn, handshakeTo("/ws/app_1")); err != nil {
			t.Fatal(err)
		}
		if r, _ := readAnswer(t, conn); r.status != 101 {
			t.Errorf("%s: status %d, want 101", name, r.status)
		}
		if p := conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; p == "h2" {
			t.Errorf("%s: HTTP/2 was agreed on", name)
		}
		conn = s.dialTLS(t, clientFor(trusting, change))
		if _, err := io.WriteString(conn, handshakeTo("/elsewhere")); err != nil {
			t.Fatal(err)
		}
		if r, body := readAnswer(t, conn); r.status != 404 || !strings.Contains(body, "no route") {
			t.Errorf("%s: status %d %q, want 404", name, r.status, body)
		}
	}
	for i, b := range s.actors.born() {
		if b.Remote.String() != "127.0.0.1" {
			t.Errorf("birth %d is from %v", i, b.Remote)
		}
	}
	s.actors.mu.Lock()
	defer s.actors.mu.Unlock()
	if len(s.actors.conns) != 3 {
		t.Fatalf("%d connections, want 3", len(s.actors.conns))
	}
	for _, c := range s.actors.conns {
		if _, ok := c.(*actor.TLSConn); !ok {
			t.Errorf("an actor gets a %T, want one that it has a transport for", c)
		}
	}
}

// What is no handshake of TLS is refused by an alert, or by nothing at all; HTTP without TLS is told what is wrong.
func TestTLSRefuses(t *testing.T) {
	s, trusting := serveTLS(t, Config{Routes: echoRoute, HandshakeTimeout: 300 * time.Millisecond})
	counted := func(r reason, want int) {
		t.Helper()
		waitFor(t, r.String(), func() bool { return s.count(r) == want })
	}
	for i, tc := range []struct {
		name, want string
		change     func(*tls.Config)
	}{
		{"TLS 1.1", "protocol version", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }},
		{"HTTP/2 alone", "no application protocol", func(c *tls.Config) { c.NextProtos = []string{"h2"} }},
		{"no trust", "certificate signed by unknown authority", func(c *tls.Config) { c.RootCAs = newCertificate(t, tomorrow).pool(t) }},
	} {
		err := tls.Client(s.dial(t), clientFor(trusting, tc.change)).Handshake()
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: the client says %v, want %s", tc.name, err, tc.want)
		}
		counted(reasonTLS, i+1)
	}

	r, body := s.ask(t, handshakeTo("/ws/app_1"))
	if r.status != 400 || !strings.Contains(body, "wss://") {
		t.Errorf("without TLS: %d %q, want 400 with wss://", r.status, body)
	}
	counted(reasonPlainHTTP, 1)

	silent := func(sent string) {
		t.Helper()
		conn := s.dial(t)
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(conn); len(b) > 0 && b[0] != 21 || err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%q is answered with %q, %v", sent, b, err)
		}
	}
	silent("")                 // runs into the time-out
	silent("\x16\x03\x01\x00") // half a record
	silent("SSH-2.0-client\r\n")
	counted(reasonTLS, 6)
	conn := s.dial(t)
	conn.Close()
	counted(reasonClientGone, 1)

	late := s.dialTLS(t, clientFor(trusting, nil)) // and then nothing
	if r, _ := readAnswer(t, late); r.status != 408 {
		t.Errorf("a head that does not come: %d, want 408", r.status)
	}
	counted(reasonTimeout, 1)
	if n := len(s.actors.born()); n != 0 {
		t.Errorf("%d connections were let in", n)
	}
}

// The end of Serve does not wait for handshakes of TLS, and says what it can.
func TestTLSStops(t *testing.T) {
	s, trusting := serveTLS(t, Config{Routes: echoRoute, HandshakeTimeout: time.Hour})
	silent := s.dial(t)
	shaken := s.dialTLS(t, clientFor(trusting, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })) // the server speaks last
	waitFor(t, "both handshakes", func() bool { return len(s.heads) == 2 })
	start := time.Now()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the stop took %v", took)
	}
	if b, err := io.ReadAll(silent); len(b) > 0 && b[0] != 21 {
		t.Errorf("a client without a handshake of TLS reads %q, %v", b, err)
	}
	if r, _ := readAnswer(t, shaken); r.status != 503 {
		t.Errorf("a client with one: %d, want 503", r.status)
	}
}

// Over TLS an attempt is counted before its handshake, also one that fails; one too many has no answer, and costs none.
func TestTLSAttempts(t *testing.T) {
	s, trusting := serveTLS(t, Config{Routes: echoRoute, Limits: Limits{HandshakesPerAddress: 1}})
	if r, _ := s.ask(t, handshakeTo("/ws/app_1")); r.status != 400 { // without TLS
		t.Fatalf("status %d, want 400", r.status)
	}
	if err := tls.Client(s.dial(t), clientFor(trusting, nil)).Handshake(); err == nil {
		t.Error("a second attempt within the second has a handshake of TLS")
	}
	waitFor(t, "the refusal", func() bool { return s.count(reasonAttempts) == 1 && s.count(reasonPlainHTTP) == 1 })
	waitFor(t, "the next second", func() bool {
		conn := tls.Client(s.dial(t), clientFor(trusting, nil))
		if conn.Handshake() != nil {
			return false
		}
		if _, err := io.WriteString(conn, handshakeTo("/ws/app_1")); err != nil {
			t.Fatal(err)
		}
		r, _ := readAnswer(t, conn)
		if r.status != 101 {
			t.Errorf("status %d, want 101: the attempt is counted twice", r.status)
		}
		return true
	})
}

// Whoever is asked for a certificate and panics takes no place, and no head is waited for any more.
func TestTLSPanics(t *testing.T) {
	s := serve(t, Config{Routes: echoRoute, Heads: 2, TLS: &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { panic("no certificate") },
	}}, nil)
	const clients = 5
	for i := range clients {
		if err := tls.Client(s.dial(t), &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
			t.Fatal("there is a handshake without a certificate")
		}
		waitFor(t, "the panic", func() bool { return s.count(reasonPanic) == i+1 })
	}
	waitFor(t, "the places", func() bool { return len(s.heads) == 0 })
	if n := s.reading.Load(); n != 0 {
		t.Errorf("%d heads are being read, want none", n)
	}
}
