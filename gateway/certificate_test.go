package gateway

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// certificateFiles are the two files of a certificate.
type certificateFiles struct{ cert, key string }

// newCertificate writes a certificate for 127.0.0.1 that ends at notAfter, and returns its files.
func newCertificate(t testing.TB, notAfter time.Time) certificateFiles {
	t.Helper()
	f := certificateFiles{filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")}
	f.write(t, notAfter)
	return f
}

// write writes another certificate into the files.
func (f certificateFiles) write(t testing.TB, notAfter time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(notAfter.Unix()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: notAfter.Add(-24 * time.Hour), NotAfter: notAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, f.cert, "CERTIFICATE", der)
	writeKey(t, f.key, key)
}

func writeKey(t testing.TB, file string, key crypto.PrivateKey) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, file, "PRIVATE KEY", der)
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pool trusts the certificate.
func (f certificateFiles) pool(t testing.TB) *x509.CertPool {
	t.Helper()
	b, err := os.ReadFile(f.cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		t.Fatal("no certificate")
	}
	return pool
}

// tomorrow and later are dates without a fraction, as certificates have them.
var (
	tomorrow = time.Now().Add(24 * time.Hour).Truncate(time.Second)
	later    = tomorrow.Add(24 * time.Hour)
)

// What is wrong with a certificate is said with the file's name and what would be right.
func TestLoadCertificateRefuses(t *testing.T) {
	good, other := newCertificate(t, tomorrow), newCertificate(t, tomorrow)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	junk := filepath.Join(t.TempDir(), "junk.pem")
	writePEM(t, junk, "CERTIFICATE", []byte("junk"))
	sealed := filepath.Join(t.TempDir(), "sealed.pem")
	writePEM(t, sealed, "ENCRYPTED PRIVATE KEY", []byte("sealed"))
	for name, tc := range map[string]struct{ cert, key, file, want string }{
		"no certificate file":      {"/nowhere/cert.pem", good.key, "/nowhere/cert.pem", "no such file or directory"},
		"no key file":              {good.cert, "/nowhere/key.pem", "/nowhere/key.pem", "no such file or directory"},
		"an empty certificate":     {empty, good.key, empty, "has no certificate in PEM"},
		"an empty key":             {good.cert, empty, empty, "has no private key in PEM"},
		"the two are exchanged":    {good.key, good.cert, good.key, "has no certificate in PEM"},
		"a certificate for both":   {good.cert, good.cert, good.cert, "found a certificate rather than a key"},
		"the key of another":       {good.cert, other.key, other.key, "is not the key of the first certificate in " + good.cert},
		"junk for a certificate":   {junk, good.key, junk, "malformed"},
		"a key under a passphrase": {good.cert, sealed, sealed, "without a passphrase"},
	} {
		c, err := LoadCertificate(CertificateConfig{CertFile: tc.cert, KeyFile: tc.key})
		e, ok := errors.AsType[*CertificateError](err)
		if !ok || c != nil || e.File != tc.file || !strings.Contains(e.Error(), tc.want) || strings.Count(e.Error(), tc.file) != 1 {
			t.Errorf("%s: got %v, want %s: … %s", name, err, tc.file, tc.want)
		}
	}
}

// A certificate that changes is taken up; what is no good is not, is said once, and is looked at again.
func TestCertificateChanges(t *testing.T) {
	f := newCertificate(t, tomorrow)
	var log syncBuffer
	r := prometheus.NewRegistry()
	c, err := LoadCertificate(CertificateConfig{CertFile: f.cert, KeyFile: f.key, Logger: log.logger(), Registerer: r})
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, notAfter time.Time, ok, failed float64) {
		t.Helper()
		pair, err := c.Get(nil)
		if err != nil || !pair.Leaf.NotAfter.Equal(notAfter) {
			t.Errorf("%s: the certificate ends at %v, %v; want %v", what, pair.Leaf.NotAfter, err, notAfter)
		}
		if _, end := c.Validity(); !end.Equal(notAfter) {
			t.Errorf("%s: Validity ends at %v", what, end)
		}
		if got := testutil.ToFloat64(c.reloads); got != ok {
			t.Errorf("%s: %v reloads, want %v", what, got, ok)
		}
		if got := testutil.ToFloat64(c.failures); got != failed {
			t.Errorf("%s: %v failures, want %v", what, got, failed)
		}
	}
	now := time.Now()
	tick := func() { now = now.Add(certificateInterval + time.Second); c.refresh(now) }
	tick()
	want("at first", tomorrow, 0, 0)
	if err := os.WriteFile(f.key, []byte("half a"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.refresh(now.Add(time.Second))
	want("before its time", tomorrow, 0, 0)
	tick()
	tick()
	want("half written", tomorrow, 0, 2)
	f.write(t, later)
	tick()
	want("a new one", later, 1, 2)
	tick()
	want("the same", later, 1, 2)
	if err := os.Remove(f.cert); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(); err == nil {
		t.Error("Reload of a file that is gone gives no error")
	}
	want("gone", later, 1, 3)
	if s := log.String(); strings.Count(s, "level=ERROR") != 2 || strings.Count(s, "level=INFO") != 1 {
		t.Errorf("the log is\n%s", s)
	}
	if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) != 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	expected := strings.NewReader("# HELP fairlead_tls_certificate_expiry_timestamp_seconds When the public port's certificate expires, in Unix time. Only with TLS.\n" +
		"# TYPE fairlead_tls_certificate_expiry_timestamp_seconds gauge\nfairlead_tls_certificate_expiry_timestamp_seconds " +
		big.NewFloat(float64(later.Unix())).Text('e', 9) + "\n")
	if err := testutil.GatherAndCompare(r, expected, "fairlead_tls_certificate_expiry_timestamp_seconds"); err != nil {
		t.Error(err)
	}
	if _, err := LoadCertificate(CertificateConfig{CertFile: f.cert, KeyFile: f.key, Registerer: r}); err == nil {
		t.Error("a certificate that is gone is loaded")
	}
}

// serveTLS is serve over TLS.
func serveTLS(t testing.TB, cfg Config) (*server, *tls.Config) {
	t.Helper()
	f := newCertificate(t, tomorrow)
	c, err := LoadCertificate(CertificateConfig{CertFile: f.cert, KeyFile: f.key})
	if err != nil {
		t.Fatal(err)
	}
	cfg.TLS = &tls.Config{GetCertificate: c.Get}
	return serve(t, cfg, nil), &tls.Config{RootCAs: f.pool(t)}
}

func TestNewTLS(t *testing.T) {
	if _, err := New(Config{Routes: echoRoute, Actors: &fakeActors{}, TLS: &tls.Config{}}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("TLS without a certificate: %v", err)
	}
	given := &tls.Config{NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS10, Certificates: []tls.Certificate{{}}}
	c, err := newTLS(given)
	if err != nil || c.MinVersion != tls.VersionTLS12 || len(c.NextProtos) != 1 || c.NextProtos[0] != "http/1.1" || len(given.NextProtos) != 1 || given.NextProtos[0] != "h2" {
		t.Errorf("newTLS = %+v, %v; given %+v", c, err, given)
	}
	if c, err = newTLS(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{}}}); err != nil || c.MinVersion != tls.VersionTLS13 {
		t.Errorf("a higher minimum became %x, %v", c.MinVersion, err)
	}
}
