package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/gobwas/ws/wsutil"
)

// certificateFiles are the two files of a certificate.
type certificateFiles struct{ cert, key string }

// newCertificate writes a certificate for 127.0.0.1 that is valid for a day, until notAfter.
func newCertificate(t *testing.T, notAfter time.Time) certificateFiles {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: notAfter.Add(-24 * time.Hour), NotAfter: notAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	f := certificateFiles{filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")}
	if err := writePEM(f.cert, "CERTIFICATE", cert); err != nil {
		t.Fatal(err)
	}
	if err := writePEM(f.key, "PRIVATE KEY", private); err != nil {
		t.Fatal(err)
	}
	return f
}

// trusting returns the configuration of a client that trusts the certificate.
func (f certificateFiles) trusting(t *testing.T) *tls.Config {
	t.Helper()
	b, err := os.ReadFile(f.cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		t.Fatal("no certificate")
	}
	return &tls.Config{RootCAs: pool}
}

// With [tls] the public port speaks TLS, the internal one does not, and the certificate's end is a metric.
func TestServeTLS(t *testing.T) {
	f := newCertificate(t, time.Now().Add(time.Hour))
	file := filepath.Join(t.TempDir(), "fairlead.toml")
	config := fmt.Sprintf("[tls]\ncert = %q\nkey = %q\n\n[compression]\nenabled = true\n\n[[route]]\npath = \"/ws/{group}\"\njoin = [\"{group}\"]\nanonymous = \"allow\"\n", f.cert, f.key)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := fairlead(t, "", nil, "config", "check", "--config", file); got.code != 0 || !strings.Contains(got.stdout, "for WebSocket over TLS") {
		t.Errorf("config check: %d %s%s", got.code, got.stdout, got.stderr)
	}
	s := startServe(t, nil, "--config", file)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, _, _, err := ws.Dialer{TLSConfig: f.trusting(t)}.Dial(ctx, "wss://"+s.public+"/ws/g")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := wsutil.WriteClientText(conn, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if got, err := wsutil.ReadServerText(conn); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	offering, err := tls.Dial("tcp", s.public, f.trusting(t))
	if err != nil {
		t.Fatal(err)
	}
	defer offering.Close()
	fmt.Fprint(offering, "GET /ws/g HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
	from := bufio.NewReader(offering)
	answer, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got := answer.Header.Get("Sec-WebSocket-Extensions"); answer.StatusCode != http.StatusSwitchingProtocols || !strings.HasPrefix(got, "permessage-deflate;") {
		t.Errorf("an offer of compression is answered with %d %q", answer.StatusCode, got)
	}
	said := strings.Repeat("again and ", 100)
	packed, err := wsflate.CompressFrame(ws.NewTextFrame([]byte(said)))
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.WriteFrame(offering, ws.MaskFrame(packed)); err != nil {
		t.Fatal(err)
	}
	h, err := ws.ReadHeader(from)
	if err != nil {
		t.Fatal(err)
	}
	heard := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	if _, err := io.ReadFull(from, heard.Payload); err != nil {
		t.Fatal(err)
	}
	if heard, err = wsflate.DecompressFrame(heard); err != nil || string(heard.Payload) != said || h.Length > 100 {
		t.Errorf("the message came back as %d bytes: %.50q, %v", h.Length, heard.Payload, err)
	}
	if _, _, _, err := ws.Dial(ctx, "ws://"+s.public+"/ws/g"); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("without TLS: %v, want 400", err)
	}
	r, err := http.Get("http://" + s.internal + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || !strings.Contains(string(b), "\nfairlead_tls_certificate_expiry_timestamp_seconds ") {
		t.Errorf("the metrics do not have the certificate's end, %v", err)
	}
}

// config check says what is wrong with a certificate, each in its place.
func TestConfigCheckCertificate(t *testing.T) {
	good, other := newCertificate(t, time.Now().Add(time.Hour)), newCertificate(t, time.Now().Add(time.Hour))
	expired, early := newCertificate(t, time.Now().Add(-time.Hour)), newCertificate(t, time.Now().Add(48*time.Hour))
	for name, tc := range map[string]struct{ cert, key, want string }{
		"no file":     {good.cert, "/nowhere/key.pem", "tls.key: /nowhere/key.pem: no such file or directory"},
		"no pair":     {good.cert, other.key, "tls.key: " + other.key + ": is not the key of the first certificate in " + good.cert},
		"no PEM":      {good.key, other.key, "tls.cert: " + good.key + ": has no certificate in PEM"},
		"expired":     {expired.cert, expired.key, "tls.cert: " + expired.cert + " expired at "},
		"not yet":     {early.cert, early.key, "tls.cert: " + early.cert + " is not valid before "},
		"only a cert": {good.cert, "", "tls.cert: cert and key belong together"},
	} {
		file := filepath.Join(t.TempDir(), "fairlead.toml")
		config := fmt.Sprintf("[tls]\ncert = %q\nkey = %q\n\n[[route]]\npath = \"/ws\"\nanonymous = \"allow\"\n", tc.cert, tc.key)
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := fairlead(t, "", nil, "config", "check", "--config", file); got.code != exitFailed || !strings.Contains(got.stderr, tc.want) {
			t.Errorf("%s: %d %s, want %s", name, got.code, got.stderr, tc.want)
		}
	}
}
