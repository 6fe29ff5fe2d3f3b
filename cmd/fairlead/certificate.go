package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
	"github.com/fairlead-ws/fairlead/gateway"
)

// checkCertificate loads the certificate of the public port, if there is one, to see whether it can be.
func (a *assembler) checkCertificate() {
	c := a.l.TLS
	if c.Cert == "" || c.Key == "" {
		return
	}
	certificate, err := gateway.LoadCertificate(gateway.CertificateConfig{CertFile: c.Cert, KeyFile: c.Key})
	if err == nil {
		a.certificate = certificate
		return
	}
	key := "tls.cert"
	if e, ok := errors.AsType[*gateway.CertificateError](err); ok && e.File == c.Key {
		key = "tls.key"
	}
	a.problem(key, err)
}

// checkValidity says of a certificate that clients do not take it at that time.
func (a *assembly) checkValidity(l *config.Loaded, now time.Time) error {
	if a.certificate == nil {
		return nil
	}
	notBefore, notAfter := a.certificate.Validity()
	switch {
	case now.After(notAfter):
		return l.At("tls.cert", fmt.Errorf("%s expired at %s: clients refuse it; want a new one", l.TLS.Cert, notAfter.UTC().Format(time.RFC3339)))
	case now.Before(notBefore):
		return l.At("tls.cert", fmt.Errorf("%s is not valid before %s: clients refuse it; want one that is valid now, or the right time on this machine",
			l.TLS.Cert, notBefore.UTC().Format(time.RFC3339)))
	}
	return nil
}

// startTLS loads the certificate for serving, and returns what the gateway wants to know of it: nil for plain TCP. One that
// clients do not take now is no reason not to serve those that do not look; the log says it.
func (n *node) startTLS() (*tls.Config, error) {
	c := n.config.TLS
	if c.Cert == "" {
		return nil, nil
	}
	if err := n.parts.checkValidity(n.config, time.Now()); err != nil {
		n.logger.Error("the TLS certificate is not valid now", "error", err)
	}
	var err error
	n.certificate, err = gateway.LoadCertificate(gateway.CertificateConfig{
		CertFile: c.Cert, KeyFile: c.Key, Logger: n.logger, Registerer: n.registry,
	})
	if err != nil {
		return nil, err
	}
	return &tls.Config{GetCertificate: n.certificate.Get}, nil
}
