package bus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

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
