package bus

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const patience = 20 * time.Second

func startNATS(t testing.TB, c NATSConfig) *NATS {
	t.Helper()
	c.Logger = slog.New(slog.DiscardHandler)
	b, err := NewNATS(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return b
}

func startServer(t testing.TB, c EmbeddedConfig) *Embedded {
	t.Helper()
	c.Logger = slog.New(slog.DiscardHandler)
	e, err := StartEmbedded(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func joinNow(t testing.TB, b *NATS, name string, m Member) {
	t.Helper()
	done := make(chan error, 1)
	b.Join(mustGroup(t, name), m, 0, func(err error) { done <- err })
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("the join is not done")
	}
}

// counter is a member that counts messages.
type counter struct{ atomic.Int64 }

func (c *counter) Deliver(b *Batch) bool {
	c.Add(int64(len(b.Messages())))
	return true
}

// nats.go closes its connection for good after some errors of the server. The bus makes another one.
func TestConnectionEndsForGood(t *testing.T) {
	e := startServer(t, EmbeddedConfig{})
	reg := prometheus.NewRegistry()
	b := startNATS(t, NATSConfig{Embedded: e, Registerer: reg})
	peer := startNATS(t, NATSConfig{Embedded: e})
	var m counter
	joinNow(t, b, "a", &m)
	joinNow(t, b, "b", &m)
	for round := range int64(3) {
		first := b.link.conn.Load()
		first.Close()
		eventually(t, "there is another connection", func() bool { return b.link.conn.Load() != first && b.Connected() })
		for _, name := range []string{"a", "b"} {
			if err := peer.Publish(Message{Group: mustGroup(t, name), Payload: []byte("x")}, nil); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "both groups hear again", func() bool { return m.Load() == 2*(round+1) })
	}
	if n := testutil.ToFloat64(b.hub.metrics.subscriptions); n != 2 {
		t.Errorf("subscriptions = %v, want 2", n)
	}
	if n := testutil.ToFloat64(b.hub.metrics.reconnects); n != 3 {
		t.Errorf("reconnects = %v, want 3", n)
	}
}

// runServer starts a server with options that EmbeddedConfig does not have.
func runServer(t *testing.T, o *server.Options) string {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	return s.ClientURL()
}

func TestPermissionViolationIsCounted(t *testing.T) {
	url := runServer(t, &server.Options{Users: []*server.User{{
		Username: "fl", Password: "pw",
		Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Deny: []string{"fl.fairlead.g.secret"}}},
	}}})
	b := startNATS(t, NATSConfig{URL: url, User: "fl", Password: "pw"})
	var m counter
	joinNow(t, b, "secret", &m)
	joinNow(t, b, "open", &m)
	eventually(t, "the violation is counted", func() bool { return testutil.ToFloat64(b.hub.metrics.errorsPermission) == 1 })
	if n := testutil.ToFloat64(b.hub.metrics.errorsOther); n != 0 || !b.Connected() {
		t.Errorf("other errors = %v, connected %t", n, b.Connected())
	}
}

// writeCert makes a certificate for 127.0.0.1 that is its own authority, and writes it and its key.
func writeCert(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(file, kind string, b []byte) string {
		file = filepath.Join(dir, name+file)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write(".pem", "CERTIFICATE", der), write(".key", "PRIVATE KEY", keyDER)
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	serverCert, serverKey := writeCert(t, dir, "server")
	nodeCert, nodeKey := writeCert(t, dir, "node")
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	pemBytes, err := os.ReadFile(nodeCert)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(pemBytes)
	url := runServer(t, &server.Options{TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted, MinVersion: tls.VersionTLS12,
	}})
	good := NATSConfig{URL: url, TLSCA: serverCert, TLSCert: nodeCert, TLSKey: nodeKey}
	a, b := startNATS(t, good), startNATS(t, good)
	var m counter
	joinNow(t, a, "g", &m)
	if err := b.Publish(Message{Group: mustGroup(t, "g"), Payload: []byte("x")}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the message comes over TLS", func() bool { return m.Load() == 1 })
	for name, c := range map[string]NATSConfig{
		"no certificate of its own": {URL: url, TLSCA: serverCert},
		"an unknown authority":      {URL: url, TLSCA: nodeCert, TLSCert: nodeCert, TLSKey: nodeKey},
	} {
		if b := startNATS(t, c); b.Connected() {
			t.Errorf("%s: connected", name)
		}
	}
}

func TestNATSConfigRefused(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCert(t, dir, "node")
	good := "nats://127.0.0.1:4222"
	for name, c := range map[string]struct {
		config NATSConfig
		want   string
	}{
		"nothing":          {NATSConfig{}, "want a URL or an embedded server"},
		"no scheme":        {NATSConfig{URL: "127.0.0.1:4222"}, "URL 1 of 1"},
		"other scheme":     {NATSConfig{URL: good + ", http://127.0.0.1"}, "URL 2 of 2"},
		"password in it":   {NATSConfig{URL: "nats://fl:sesame@a b"}, "URL 1 of 1"},
		"empty in a list":  {NATSConfig{URL: good + ",,"}, "URL 2 of 3"},
		"two credentials":  {NATSConfig{URL: good, Creds: cert, User: "a"}, "want one"},
		"no creds file":    {NATSConfig{URL: good, Creds: filepath.Join(dir, "none")}, "no such file"},
		"cert without key": {NATSConfig{URL: good, TLSCert: cert}, "needs its key"},
		"key without cert": {NATSConfig{URL: good, TLSKey: key}, "needs its key"},
		"no CA file":       {NATSConfig{URL: good, TLSCA: filepath.Join(dir, "none")}, "no such file"},
		"bad CA file":      {NATSConfig{URL: good, TLSCA: key}, "failed to parse root certificate"},
		"negative":         {NATSConfig{URL: good, Pending: -1}, "negative"},
		"negative linger":  {NATSConfig{URL: good, Linger: -1}, "negative"},
	} {
		reg := prometheus.NewRegistry()
		c.config.Registerer = reg
		b, err := NewNATS(c.config)
		if err == nil {
			t.Errorf("%s: accepted", name)
			_ = b.Close(t.Context())
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %q, want %q in it", name, err, c.want)
		}
		if n, err := testutil.GatherAndCount(reg); n != 0 || err != nil {
			t.Errorf("%s: %d metrics stay registered (%v)", name, n, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("fl.fairlead.g.a~b", "", []byte("text"))
	f.Add("fl.fairlead.g.a", "", []byte("\xff"))
	f.Add("fl.fairlead.g.a", "binary", []byte("text"))
	f.Add("fl.fairlead.g.a", "text", []byte("\xc3"))
	f.Add("fl.fairlead.g.a", "other", []byte(nil))
	f.Add("fl.fairlead.g.", "", []byte(nil))
	f.Add("fl.other.g.a", "", []byte(nil))
	f.Fuzz(func(t *testing.T, subject, kind string, payload []byte) {
		m, err := decode(subjectPrefix(Cluster{}), subject, kind, payload)
		switch {
		case err != nil:
			if !m.Group.IsZero() || m.Payload != nil {
				t.Errorf("decode = %+v with the error %v", m, err)
			}
		case Subject(Cluster{}, m.Group) != subject:
			t.Errorf("decode(%q) is for %v", subject, m.Group)
		case !m.Binary && !utf8.Valid(m.Payload):
			t.Errorf("%q became a text message", m.Payload)
		case string(m.Payload) != string(payload):
			t.Errorf("payload %q, want %q", m.Payload, payload)
		case kind == typeBinary && !m.Binary, kind == typeText && m.Binary:
			t.Errorf("the header says %q, Binary is %t", kind, m.Binary)
		}
	})
}

// A connection on which a write failed must not be written to again: half of a command may be out.
func TestStrictConn(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := strictConn{ours}
	if err := c.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Write = %v", err)
	}
	if _, err := theirs.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}

// A connection that nats.go forgot is closed when it dials again.
func TestDialerClosesTheLast(t *testing.T) {
	var far []net.Conn
	d := &dialer{dial: func(string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		far = append(far, theirs)
		return ours, nil
	}}
	for range 2 {
		if _, err := d.InProcessConn(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := far[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the first connection after the second dial: %v, want EOF", err)
	}
	d.close()
	d.close()
	if _, err := far[1].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the second connection after close: %v, want EOF", err)
	}
	refused := errors.New("refused")
	d.dial = func(string, string) (net.Conn, error) { return nil, refused }
	if c, err := d.Dial("tcp", "x"); c != nil || !errors.Is(err, refused) {
		t.Errorf("Dial = %v, %v", c, err)
	}
}

func TestWarnOnce(t *testing.T) {
	var text strings.Builder
	l := &link{log: slog.New(slog.NewTextHandler(&text, nil)), said: make(map[string]saying)}
	for range 5 {
		l.warn("a", "trouble", errors.New("one"))
		l.warn("b", "trouble", errors.New("nats: Parse Error [3]: 'my payload'"))
	}
	l.warn("a", "trouble", errors.New("two"))
	l.warn("c", "trouble", nil)
	if n := strings.Count(text.String(), "trouble"); n < 4 || strings.Count(text.String(), "\n") != 4 {
		t.Errorf("logged:\n%s", text.String())
	}
	if strings.Contains(text.String(), "payload'") {
		t.Errorf("a payload is logged:\n%s", text.String())
	}
}

// A node needs little for a group: what nats.go keeps for a subscription is most of it.
func TestMemoryNATS(t *testing.T) {
	const groups = 5000
	b := startNATS(t, NATSConfig{Embedded: startServer(t, EmbeddedConfig{}), Shards: 2})
	m := &discard{}
	joinNow(t, b, "g", m)
	names := make([]string, groups)
	before := heap()
	done := make(chan error, groups)
	for i := range names {
		b.Join(mustGroup(t, "app_"+big.NewInt(int64(i)).String()), m, uint32(i), func(err error) { done <- err })
	}
	for range groups {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	each := float64(heap()-before) / groups
	t.Logf("%.0f bytes per group, in the node and in the server in this process", each)
	if each > 3072 {
		t.Errorf("a group takes %.0f bytes with its subscription and the server's, want at most 3072", each)
	}
}
