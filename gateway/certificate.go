package gateway

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// certificateInterval is how often the files of a certificate are looked at, at most.
const certificateInterval = 10 * time.Second

// CertificateConfig says where a certificate is. The zero value of each field but the files means its default.
type CertificateConfig struct {
	CertFile string // PEM: the certificate, and behind it those between it and the root
	KeyFile  string // PEM: its private key, without a passphrase

	Logger     *slog.Logger          // nil: slog.Default()
	Registerer prometheus.Registerer // nil: the metrics are not registered
}

// Certificate is the server's certificate with its key, from two files that may change: it looks at them when a client asks
// for it and when the metrics are read, every ten seconds at most, and takes up what is new. New files that are no good
// change nothing but the log and a metric. Its methods may be called by many goroutines.
type Certificate struct {
	// Fixed after LoadCertificate.
	certFile, keyFile string
	logger            *slog.Logger
	reloads, failures prometheus.Counter

	// Guarded by mu.
	mu     sync.Mutex
	stamps [2]stamp
	fault  string // what was wrong with the files; "": nothing

	// Atomic.
	current atomic.Pointer[tls.Certificate]
	checked atomic.Int64 // when the files were looked at last, Unix nanoseconds
}

// stamp is what a file changes with.
type stamp struct {
	modified time.Time
	size     int64
}

// CertificateError says what is wrong with one of a certificate's files.
type CertificateError struct {
	File string
	Err  error // without the file's name
}

// Error returns both.
func (e *CertificateError) Error() string { return e.File + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *CertificateError) Unwrap() error { return e.Err }

// LoadCertificate reads a certificate and its key. The error is a *[CertificateError], or that of registering the metrics.
// That the certificate has expired is no error, see [Certificate.Validity].
func LoadCertificate(cfg CertificateConfig) (*Certificate, error) {
	c := &Certificate{certFile: cfg.CertFile, keyFile: cfg.KeyFile, logger: cmp.Or(cfg.Logger, slog.Default())}
	if _, err := c.load(); err != nil {
		return nil, err
	}
	c.checked.Store(time.Now().UnixNano())
	return c, c.register(cfg.Registerer)
}

func (c *Certificate) register(r prometheus.Registerer) error {
	reloads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_tls_certificate_reloads_total",
		Help: "Times that the files of the public port's certificate had changed, by result (ok, error); with error the one before serves on. Only with TLS.",
	}, []string{"result"})
	c.reloads, c.failures = reloads.WithLabelValues("ok"), reloads.WithLabelValues("error")
	if r == nil {
		return nil
	}
	date := func(name, help string, of func(notBefore, notAfter time.Time) time.Time) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			c.refresh(time.Now())
			return float64(of(c.Validity()).Unix())
		})
	}
	for _, m := range []prometheus.Collector{
		reloads,
		date("fairlead_tls_certificate_not_before_timestamp_seconds", "When the public port's certificate begins to be valid, in Unix time. Only with TLS.",
			func(notBefore, _ time.Time) time.Time { return notBefore }),
		date("fairlead_tls_certificate_expiry_timestamp_seconds", "When the public port's certificate expires, in Unix time. Only with TLS.",
			func(_, notAfter time.Time) time.Time { return notAfter }),
	} {
		if err := r.Register(m); err != nil {
			return fmt.Errorf("gateway: %w", err)
		}
	}
	return nil
}

// Get is a GetCertificate of [tls.Config].
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.refresh(time.Now())
	return c.current.Load(), nil
}

// Validity returns from when until when the certificate is valid.
func (c *Certificate) Validity() (notBefore, notAfter time.Time) {
	leaf := c.current.Load().Leaf
	return leaf.NotBefore, leaf.NotAfter
}

// refresh takes up files that have changed, if nobody has looked at them for certificateInterval.
func (c *Certificate) refresh(now time.Time) {
	last := c.checked.Load()
	if now.UnixNano()-last < certificateInterval.Nanoseconds() || !c.checked.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	_ = c.Reload() // it logs what is wrong
}

// Reload takes up the files if they have changed, or were no good the last time. The error is a *[CertificateError]; the
// certificate from before serves on then.
func (c *Certificate) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed, err := c.load()
	switch {
	case err != nil:
		c.failures.Inc()
		if text := err.Error(); text != c.fault { // once, not every ten seconds
			c.fault = text
			c.logger.Error("the TLS certificate has changed and is no good: the one before serves on", "error", err)
		}
	case changed:
		c.fault = ""
		c.reloads.Inc()
		c.logger.Info("the TLS certificate is a new one", "expires", c.current.Load().Leaf.NotAfter)
	}
	return err
}

// load reads the files, if they are others than before.
func (c *Certificate) load() (changed bool, err error) {
	var stamps [2]stamp
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return false, certificateError(name, err)
		}
		stamps[i] = stamp{info.ModTime(), info.Size()}
	}
	if stamps == c.stamps && c.fault == "" {
		return false, nil
	}
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		return false, certificateError(c.certFile, err)
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return false, certificateError(c.keyFile, err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, c.pairError(err)
	}
	c.stamps = stamps
	c.current.Store(&pair)
	return true, nil
}

// certificateError is err without the file's name, which it has to say itself.
func certificateError(name string, err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		err = e.Err
	}
	return &CertificateError{name, err}
}

// pairError says what is wrong with the contents, and what would be right.
func (c *Certificate) pairError(err error) error {
	text := strings.TrimPrefix(err.Error(), "tls: ")
	switch {
	case strings.Contains(text, "certificate input"):
		return &CertificateError{c.certFile, errors.New("has no certificate in PEM; want -----BEGIN CERTIFICATE----- first of all, the server's own before those of its issuers")}
	case strings.Contains(text, "key input"):
		return &CertificateError{c.keyFile, errors.New("has no private key in PEM; want -----BEGIN PRIVATE KEY----- or the like, without a passphrase")}
	case strings.Contains(text, "does not match"):
		return &CertificateError{c.keyFile, errors.New("is not the key of the first certificate in " + c.certFile + "; want the two that belong together")}
	case strings.Contains(text, "private key"):
		return &CertificateError{c.keyFile, errors.New(text + "; want an RSA, ECDSA or Ed25519 key without a passphrase")}
	}
	return &CertificateError{c.certFile, errors.New(text)}
}
