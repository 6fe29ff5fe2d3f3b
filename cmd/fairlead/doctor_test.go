package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// findings returns what is said of a check.
func (d *doctor) found(check string) string {
	var lines []string
	for _, f := range d.diagnosis.Findings {
		if f.Check == check {
			lines = append(lines, string(f.Verdict)+": "+f.Found+"; "+f.Advice)
		}
	}
	return strings.Join(lines, "\n")
}

// newDoctor returns one for a configuration, on a machine whose kernel's settings are those given.
func newDoctor(t *testing.T, text string, kernel map[string]string) *doctor {
	t.Helper()
	l, err := config.Load(config.Source{File: writeFile(t, "fairlead.toml", text), Getenv: getenv(nil)})
	if err != nil {
		t.Fatal(err)
	}
	d := &doctor{config: l, timeout: 5 * time.Second, system: t.TempDir(), now: time.Now}
	if d.parts, err = assemble(t.Context(), l, nil, quiet(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.parts.Close() })
	for name, value := range kernel {
		path := filepath.Join(d.system, strings.ReplaceAll(name, ".", "/"))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestDoctorSysctls(t *testing.T) {
	d := newDoctor(t, anyone, map[string]string{
		"net.core.somaxconn": "128", "net.ipv4.tcp_mem": "100\t200\t300", "fs.nr_open": "1048576", "fs.file-max": "9223372036854775807",
		"net.ipv4.tcp_max_syn_backlog": "nonsense",
	})
	d.sysctls(10_000)
	want := 10_000 * kernelPerSocket / os.Getpagesize()
	for check, says := range map[string]string{
		"net.core.somaxconn":           "warn: 128 is little for 10000 connections: connections that come at once wait there to be accepted; what does not fit is lost; sysctl -w net.core.somaxconn='1024'",
		"net.ipv4.tcp_mem":             fmt.Sprintf("sysctl -w net.ipv4.tcp_mem='100 200 %d'", want),
		"fs.nr_open":                   "ok: 1048576; ",
		"fs.file-max":                  "ok: 9223372036854775807; ",
		"net.ipv4.tcp_max_syn_backlog": "",
		"kernel":                       "",
	} {
		if got := d.found(check); !strings.Contains(got, says) || says == "" && got != "" {
			t.Errorf("%s: %q, want %q", check, got, says)
		}
	}
	d = newDoctor(t, anyone, nil)
	d.sysctls(10_000)
	if got := d.found("kernel"); !strings.HasPrefix(got, "warn: ") {
		t.Errorf("without settings: %q", got)
	}
}

// certify writes a certificate that is good until end, and its key.
func certify(t *testing.T, end time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-90 * 24 * time.Hour), NotAfter: end, DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = writeFile(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return cert, writeFile(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}

func TestDoctorCertificate(t *testing.T) {
	for end, says := range map[time.Duration]string{
		30 * 24 * time.Hour: "ok: the certificate is good until ",
		3 * 24 * time.Hour:  "warn: the certificate ends in ",
		-time.Hour:          "expired at ",
	} {
		cert, key := certify(t, time.Now().Add(end))
		if err := os.Chmod(key, 0o644); err != nil {
			t.Fatal(err)
		}
		d := newDoctor(t, fmt.Sprintf("%s\n[tls]\ncert = %q\nkey = %q\n", anyone, cert, key), nil)
		d.files()
		if got := d.found("TLS"); !strings.Contains(got, says) {
			t.Errorf("%v: %q, want %q", end, got, says)
		}
		if got := d.found("tls.key"); !strings.HasPrefix(got, "warn: ") || !strings.Contains(got, "(mode 0644); chmod 640 ") {
			t.Errorf("a key that all can read: %q", got)
		}
	}
}

func TestDoctorNATS(t *testing.T) {
	server := startNATS(t, "127.0.0.1:0")
	defer server.Close(t.Context())
	with := func(more string) *doctor {
		d := newDoctor(t, fmt.Sprintf("%s\n[nats]\nurl = %q\nuser = \"u\"\npassword = \"hidden\"\n%s", anyone, server.URL(), more), nil)
		d.nats(t.Context())
		return d
	}
	if d := with(""); !strings.HasPrefix(d.found("NATS"), "ok: "+server.URL()+", version ") || d.found("JetStream") == "" {
		t.Errorf("%+v", d.diagnosis.Findings)
	}
	if d := with("[journal]\nmode = \"off\"\n"); d.found("JetStream") != "ok: not asked: journal.mode is off; " {
		t.Errorf("%+v", d.diagnosis.Findings)
	}
	if d := with("[limits]\nmessage_bytes = 8000000\n"); !strings.HasPrefix(d.found("NATS max_payload"), "fail: it is 1048576, and limits.message_bytes is 8000000") {
		t.Errorf("%+v", d.diagnosis.Findings)
	}
	bad := newDoctor(t, fmt.Sprintf("%s\n[nats]\nurl = %q\nuser = \"u\"\npassword = \"wrong-hidden\"\n", anyone, server.URL()), nil)
	bad.nats(t.Context())
	if got := bad.found("NATS"); !strings.HasPrefix(got, "fail: ") || strings.Contains(got, "hidden") {
		t.Errorf("a wrong password: %q", got)
	}
	dir := filepath.Join(t.TempDir(), "store")
	d := newDoctor(t, fmt.Sprintf("%s\n[nats]\nstore_dir = %q\n", anyone, dir), nil)
	d.nats(t.Context())
	if got := d.found("nats.store_dir"); got != "ok: "+dir+" can be written; " {
		t.Errorf("%q", got)
	}
	d = newDoctor(t, fmt.Sprintf("%s\n[nats]\nstore_dir = %q\n", anyone, writeFile(t, "file", "x")), nil)
	d.nats(t.Context())
	if got := d.found("nats.store_dir"); !strings.HasPrefix(got, "fail: ") {
		t.Errorf("a file for a folder: %q", got)
	}
}

// doctor finds the node that runs, and says when it is not ready.
func TestDoctorNode(t *testing.T) {
	s := startServe(t, nil, "--config", writeFile(t, "fairlead.toml", anyone))
	listen := func(address string) string {
		return fmt.Sprintf("%s\n[listen]\npublic = \"127.0.0.1:0\"\ninternal = %q\n", anyone, address)
	}
	d := newDoctor(t, listen(s.internal), nil)
	d.node(t.Context())
	if got := d.found("node"); got != "ok: one runs here, and is ready; " {
		t.Errorf("%q", got)
	}
	other := strings.TrimPrefix(answering(t, http.NotFound), "http://")
	d = newDoctor(t, listen(other), nil)
	d.node(t.Context())
	if got := d.found("node"); !strings.HasPrefix(got, "fail: something at listen.internal, "+other+", does not answer as a Fairlead: it answers 404") {
		t.Errorf("%q", got)
	}
	sick := strings.TrimPrefix(answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"ready":false,"checks":[{"name":"bus","ok":false,"error":"NATS is away"},{"name":"accepting","ok":true}]}`)
	}), "http://")
	d = newDoctor(t, listen(sick), nil)
	d.node(t.Context())
	if got := d.found("node"); got != "fail: one runs here, and is not ready: bus: NATS is away; see its log" {
		t.Errorf("%q", got)
	}
	d = newDoctor(t, fmt.Sprintf("%s\n[listen]\npublic = %q\ninternal = \"127.0.0.1:0\"\n", anyone, s.public), nil)
	d.node(t.Context())
	if got := d.found("listen.public"); !strings.HasPrefix(got, "fail: ") || !strings.Contains(got, "address already in use") {
		t.Errorf("%q", got)
	}
}

// The JSON for programs has what the text has.
func TestDoctorJSON(t *testing.T) {
	file := writeFile(t, "fairlead.toml", anyone+"\n[listen]\npublic = \"127.0.0.1:0\"\ninternal = \"127.0.0.1:0\"\n")
	res := fairlead(t, "", nil, "doctor", "--config", file, "-o", "json")
	var g diagnosis
	if err := json.Unmarshal([]byte(res.stdout), &g); err != nil {
		t.Fatalf("%v: %s", err, res.stdout)
	}
	if res.code != 0 || !g.OK || len(g.Findings) < 8 {
		t.Errorf("%d %+v", res.code, g)
	}
	if text := fairlead(t, "", nil, "doctor", "--config", file); strings.Count(text.stdout, "\n") < len(g.Findings)+2 || text.code != 0 {
		t.Errorf("%d %s", text.code, text.stdout)
	}
}
